// The charts of the last hour, one bar a minute.

import { hm, n, shown } from "./texts.js";

const $ = (id) => document.getElementById(id);
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const HALF_MINUTE = 30;
let charts = [];

function size(holder) { return { width: Math.max(holder.clientWidth, 120), height: Math.max(holder.clientHeight, 80) }; }
function draw(holder, series, rows) {
  const axis = { stroke: ink("soft"), grid: { stroke: ink("line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(document.body).fontFamily}` };
  return new uPlot({
    ...size(holder), legend: { show: false }, cursor: { show: false }, padding: [8, 4, 0, 0], tzDate: (at) => uPlot.tzDate(new Date(at * 1000), shown.timezone),
    // A bar stands for a whole minute, so half a bar lies before the first minute and after the last one.
    scales: { x: { range: (_, first, last) => [first - HALF_MINUTE, last + HALF_MINUTE] }, y: { range: (_, low, high) => [0, Math.max(4, high * 1.08)] } },
    axes: [{ ...axis, size: 30, space: 60, values: (_, at) => at.map(hm), incrs: [300, 600, 900, 1200, 1800] },
      { ...axis, size: (_, values) => 14 + 7.5 * Math.max(1, ...(values ?? []).map((value) => value.length)), values: (_, at) => at.map((value) => (Number.isInteger(value) ? n(value) : "")) }],
    series: [{}, ...series.map((name) => ({ fill: ink(name), stroke: ink(name), width: 0, paths: uPlot.paths.bars({ size: [0.8, 40] }), points: { show: false } }))],
  }, rows, holder);
}
/** Shows the passages, and the outcomes other than clear as stacked bars: each is drawn with the sum of all below it, the tallest first. */
export function showMinutes(hour, outcomes) {
  if (typeof uPlot === "undefined") return;
  const stacked = outcomes.map((_, i) => hour.at.map((_, m) => outcomes.slice(i).reduce((total, name) => total + hour[name][m], 0)));
  const rows = [[hour.at, hour.passages], [hour.at, ...stacked]];
  if (charts.length) charts.forEach((drawn, i) => drawn.setData(rows[i]));
  else charts = [draw($("chart-all"), ["bar"], rows[0]), draw($("chart-not-clear"), outcomes, rows[1])];
  return { passages: rows[0][1], notClear: stacked[0] };
}
export function clearCharts() {
  charts.forEach((drawn) => drawn.destroy());
  charts = [];
}
new ResizeObserver(() => charts.forEach((drawn) => drawn.setSize(size(drawn.root.parentElement)))).observe($("chart-all"));
