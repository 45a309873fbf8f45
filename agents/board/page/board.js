// The situation page. It asks for a snapshot every two seconds and shows it. Every text is inserted as text, never as markup.
// The page marks what is unknown or outdated: silence never counts as good.

const POLL = 2000, SITES = 10_000, ANSWER = 4000, LOST = 6000, ROWS = 40, MOST_ROWS = 2000;
const OUTCOMES = ["refer", "quarantine", "turn_back", "hold", "clear"];
const NOT_CLEAR = ["refer", "quarantine", "turn_back", "hold"];
const SLOW = new Set(["settled_today", "sites"]); // they change little: they must be known, but their age is not shown
const SUBJECT = ["part", "role", "address", "topic", "authority", "list", "batch", "site"]; // the figures that distinguish two problems with the same code
const CALM = ["all_well", "not_all_checked"];
const SITE_STATES = { unknown: "unknown", silent: "bad", gaps: "warn", quiet: "quiet", nothing: "quiet", ok: "ok" };

const $ = (id) => document.getElementById(id);
const texts = await (await fetch("texts.json")).json();
let language = chosen();
let snapshot = null, gotAt = 0, allSites = null, allShown = false, allProblems = false, announced = new Map();

function chosen() {
  try { const kept = localStorage.getItem("language"); if (kept === "en" || kept === "zh") return kept; } catch { /* without storage the choice is not kept */ }
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}
function t(key, values = {}) {
  return (texts[key]?.[language] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
// These codes are also the keys of other texts.
const rule = (code) => t(code === "list_stale" ? "rule_list_stale" : code);
const role = (code) => t(code === "lists" ? "role_lists" : code);

// -- figures and times ------------------------------------------------------------------------------------------------------
const locale = () => (language === "zh" ? "zh-CN" : "en-GB");
// Creating a format takes a hundred times as long as using it, and a table of sites uses thousands.
const formats = new Map();
function format(kind, options = {}) {
  const key = `${kind.name} ${options.timeZone} ${options.day} ${language}`;
  if (!formats.has(key)) formats.set(key, new kind(options.day ? "sv-SE" : locale(), options));
  return formats.get(key);
}
const n = (value) => (value === null || value === undefined ? "—" : format(Intl.NumberFormat).format(value));
function clock(at, withDay = false) {
  if (!at) return "—";
  const timeZone = snapshot?.timezone ?? "UTC";
  const day = (of) => format(Intl.DateTimeFormat, { timeZone, year: "numeric", month: "2-digit", day: "2-digit" }).format(of * 1000);
  const time = format(Intl.DateTimeFormat, { timeZone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(at * 1000);
  const days = [snapshot?.at ?? at, snapshot?.as_of ?? at].map(day);
  return withDay || !days.includes(day(at)) ? `${day(at)} ${time}` : time;
}
const hm = (at) => (at ? clock(at).replace(/:\d\d$/, "") : "—");
function age(seconds) {
  const [unit, size] = seconds < 90 ? ["s", 1] : seconds < 5400 ? ["min", 60] : seconds < 129_600 ? ["h", 3600] : ["d", 86_400];
  return t(unit, { n: n(Math.max(0, Math.floor(seconds / size))) });
}
const since = (at, orBefore) => (orBefore ? t("or_before", { time: clock(at) }) : clock(at));
const short = (seconds) => (seconds < 1 ? t("ms", { n: n(Math.round(seconds * 1000)) }) : t("s", { n: n(Math.round(seconds * 10) / 10) }));
const lost = () => snapshot !== null && Date.now() - gotAt > LOST;
const known = (part) => !lost() && Boolean(snapshot.parts[part]?.known);

// -- writing ----------------------------------------------------------------------------------------------------------------
function put(element, text, name) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
  if (name !== undefined && element.className !== name) element.className = name;
}
// The children of a list or table are reused by position and written when their row changed. A cell is [text, class], or
// [text, class, chip].
const written = new WeakMap();
function fill(parent, rows, make, write) {
  while (parent.children.length > rows.length) parent.lastElementChild.remove();
  rows.forEach((row, i) => {
    if (!parent.children[i]) parent.append(make(row));
    const child = parent.children[i], content = JSON.stringify(row);
    if (written.get(child) === content) return;
    write(child, row);
    written.set(child, content);
  });
}
function table(id, rows) {
  $(id).dataset.empty = t($(id).closest("section").classList.contains("unknown-panel") ? "unknown" : "none");
  fill($(id), rows, (row) => {
    const tr = document.createElement("tr");
    row.forEach((_, i) => {
      const cell = document.createElement(i ? "td" : "th");
      if (!i) cell.scope = "row";
      tr.append(cell);
    });
    return tr;
  }, (tr, row) => row.forEach(([text, name = "", chip], i) => {
    const cell = tr.children[i];
    if (chip === undefined) return put(cell, text, name);
    if (cell.className !== name) cell.className = name;
    if (!cell.firstElementChild) cell.append(document.createElement("span"));
    put(cell.firstElementChild, text, `chip ${chip}`);
  }));
}
const count = (value, alarm = false) => [n(value), `n${value ? (alarm ? " alarm" : "") : " zero"}`];
function chips(id, items) {
  fill($(id), items, () => document.createElement("li"), (li, [text, chip]) => put(li, text, `chip ${chip}`));
}

// -- the page ---------------------------------------------------------------------------------------------------------------
function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = `${t("title")} · ninezero`;
  for (const element of document.querySelectorAll("[data-t]")) put(element, t(element.dataset.t));
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === language));
  announced = new Map();
}
function render() {
  if (snapshot === null) return;
  head();
  problems();
  stamps();
  figures();
  minutes();
  rules();
  sites();
  lists();
  beds();
  followups();
  pipeline();
}
function head() {
  const gone = lost();
  put($("connection"), gone ? t("lost", { time: clock(gotAt / 1000) }) : snapshot.replay ? t("replay", { time: clock(snapshot.as_of, true) }) : t("live"),
    `chip ${gone ? "bad" : snapshot.replay ? "warn" : "ok"}`);
  put($("time"), snapshot.replay ? "" : clock(snapshot.at + (Date.now() - gotAt) / 1000));
  put($("order"), t("order", { order: snapshot.order, end: clock(snapshot.sunset, true) }));
}
function problemText(code, values) {
  const of = { ...values };
  for (const name of ["n", "sites", "devices", "seconds"]) if (name in of) of[name] = n(of[name]);
  if ("since" in of) of.time = since(of.since, of.or_before);
  if ("age" in of) of.age = age(of.age);
  if ("role" in of) of.role = role(of.role);
  if ("part" in of) of.part = t(`part_${of.part}`);
  if ("code" in of) of.code = t(of.code);
  return t(code, of);
}
function problems() {
  const found = lost() ? [["bad", "connection_lost", { since: gotAt / 1000 }], ...snapshot.problems] : snapshot.problems;
  const checked = Object.values(snapshot.parts).every((part) => part.known);
  const lines = found.map(([level, code, values]) => [level, t(level), problemText(code, values), SUBJECT.reduce((key, name) => `${key} ${values[name] ?? ""}`, code)]);
  if (!lines.length) lines.push(checked ? ["ok", "✓", t("all_well"), CALM[0]] : ["unknown", "?", t("not_all_checked"), CALM[1]]);
  const most = innerWidth < 760 ? 5 : 9;
  $("more").hidden = lines.length <= most;
  $("more").setAttribute("aria-expanded", String(allProblems));
  put($("more"), allProblems ? t("show_few") : t("more_problems", { n: n(lines.length - most) }));
  fill($("problems"), allProblems ? lines : lines.slice(0, most), () => {
    const li = document.createElement("li");
    li.append(document.createElement("span"), document.createElement("span"));
    return li;
  }, (li, [level, word, text]) => {
    if (li.className !== level) li.className = level;
    put(li.children[0], word, "level");
    put(li.children[1], text);
  });
  // A screen reader announces new and resolved problems, not every figure that changes.
  const now = new Map(lines.map(([, , text, key]) => [key, text]));
  const fresh = [...now].filter(([key]) => !announced.has(key)).map(([, text]) => text);
  const over = [...announced].filter(([key]) => !now.has(key) && !CALM.includes(key)).map(([, text]) => t("resolved", { what: text }));
  if (fresh.length || over.length) put($("announce"), [...fresh, ...over].join(language === "zh" ? "。" : ". "));
  announced = now;
}
function stamps() {
  for (const element of document.querySelectorAll("[data-stamp]")) {
    const parts = element.dataset.stamp.split(" ").map((name) => [name, snapshot.parts[name]]);
    const oldest = Math.min(...parts.filter(([name]) => !SLOW.has(name)).map(([, part]) => part.at ?? Infinity));
    const all = parts.every(([name]) => known(name)), some = Number.isFinite(oldest);
    const pending = !all && !lost() && !snapshot.problems.some(([, code]) => code === "part_unknown" || code === "clickhouse_silent" || code === "workers_unknown");
    put(element, all ? t("as_of", { time: clock(oldest) }) : pending ? t("waiting") : some ? t("unknown_since", { time: clock(oldest) }) : t("unknown"), `stamp${all ? "" : " chip unknown"}`);
    element.closest("section").classList.toggle("unknown-panel", !all);
  }
}
function figures() {
  const today = snapshot.today, hour = snapshot.minutes;
  const sum = (name) => (hour ? hour[name].reduce((a, b) => a + b, 0) : null);
  for (const name of [...OUTCOMES, "passages", "people", "fevers"]) put($(`n-${name}`), n(today ? today[name] ?? 0 : null));
  for (const name of OUTCOMES) {
    put($(`h-${name}`), n(sum(name)));
    put($(`m-${name}`), n(hour ? hour[name].at(-2) : null));
  }
  put($("n-minute"), n(hour ? hour.passages.at(-2) : null));
  const stages = ["registered", "boarded", "delivered"].map((stage) => `${t(stage)} ${n(snapshot.arrivals ? snapshot.arrivals[stage] ?? 0 : null)}`);
  put($("arrivals"), stages.join(", "));
  const of = snapshot.transfers, counted = (name) => n(of ? of[name] : null);
  put($("transfers"), t("transfers_values", { transfers: counted("transfers"), boarded: counted("boarded"), delivered: counted("delivered"), missing: counted("missing") }));
  put($("rate"), t("events_a_second", { n: n(known("workers") && snapshot.pipeline.rate !== null ? Math.round(snapshot.pipeline.rate) : null) }));
}
function rules() {
  const where = (most, places) => {
    const named = most.map(([site, times]) => `${site} ${n(times)}`).join(", ");
    return [places > most.length ? t("sites_more", { most: named, n: n(places - most.length) }) : named, "places"];
  };
  table("t-rules", (snapshot.rules ?? []).map(([code, lately, hour, today, places, most]) => [[rule(code)], count(lately, true), count(hour), count(today), where(most, places)]));
  table("t-case-alerts", (snapshot.case_alerts ?? []).map(([code, today, before, places, most]) => [[rule(code)], count(today, true), count(before), where(most, places)]));
}
function sites() {
  const states = snapshot.site_states, total = Object.values(states).reduce((a, b) => a + b, 0);
  chips("site-states", lost() ? [[`${t("state_unknown")} ${n(total)}`, "unknown"]] : Object.keys(SITE_STATES).filter((state) => states[state]).map((state) => [`${t(`state_${state}`)} ${n(states[state])}`, SITE_STATES[state]]));
  const wanted = $("find").value.trim().toLowerCase();
  const source = (allShown || wanted) && allSites ? allSites : snapshot.sites;
  const found = source.filter((row) => row[0].toLowerCase().includes(wanted)), shown = found.slice(0, allShown || wanted ? MOST_ROWS : ROWS);
  put($("more-sites"), found.length > MOST_ROWS ? t("first_of", { n: n(MOST_ROWS), all: n(found.length) }) : "");
  table("t-sites", shown.map(([site, state, passages, refer, quarantine, turn_back, hold, last, missing, silent]) => {
    const shownState = lost() ? "unknown" : state;
    return [[site], [t(`state_${shownState}`), "", SITE_STATES[shownState]], count(passages), count(refer), count(quarantine), count(turn_back), count(hold), [hm(last), "n"],
      missing === null ? [t("unknown"), "n"] : count(missing, true),
      [silent === null ? t("unknown") : silent.slice(0, 4).map(([device, minutes]) => t("device_minutes", { device, minutes: n(minutes) })).join(", ") + (silent.length > 4 ? " …" : "")]];
  }));
  put($("all"), allShown ? t("show_few") : t("show_all", { n: n(total) }));
  $("all").setAttribute("aria-expanded", String(allShown));
  $("all").hidden = total <= ROWS;
}
function lists() {
  const { applied = [], held = [] } = snapshot.lists ?? {};
  table("t-lists", applied.map(([authority, name, category, seconds]) => {
    const pass = category === "health_pass", old = seconds > 86_400 && !pass;
    const chip = known("lists") ? (old ? "warn" : pass ? "quiet" : "ok") : "unknown";
    return [[name], [t(chip === "unknown" ? "unknown" : old ? "old" : "ago", { age: age(seconds) }), "", chip], [t(category)], [authority, "places"]];
  }));
  table("t-held", held.map(([authority, name, batch, code, lines]) => [[batch], [`${name} · ${authority}`], [t(code)], count(lines)]));
  $("h-held").hidden = $("t-held").closest(".scroll").hidden = !held.length;
  const { heartbeat, entries } = snapshot.pipeline, sure = known("workers");
  put($("heartbeat"), sure && heartbeat !== null ? t("heartbeat", { n: n(Math.round(heartbeat)) }) : t("no_heartbeat"));
  put($("entries"), t("entries", { n: n(sure && entries ? Object.values(entries).reduce((a, b) => a + b, 0) : null) }));
}
const sum = (rows, at) => (rows ? rows.reduce((total, row) => total + row[at], 0) : null);
function beds() {
  const places = snapshot.quarantine;
  put($("n-free"), n(sum(places, 3)), `big${places && sum(places, 3) <= 0 && places.length ? " alarm" : ""}`);
  put($("n-beds"), t("of_beds", { n: n(sum(places, 1)) }));
  put($("n-missed"), n(sum(places, 6)), `big${sum(places, 6) ? " alarm" : ""}`);
  put($("n-readings"), t("readings_done", { done: n(sum(places, 5)), due: n(sum(places, 4)) }));
  table("t-beds", (places ?? []).map(([site, capacity, present, free, due, done, missed, before, leave, exceeded]) => [[site], count(present), count(capacity), [n(free), `n${free > 0 || !(capacity || present) ? "" : " alarm"}`], count(due), count(done), count(missed, true), count(before, true), count(leave), count(exceeded, true)]));
}
function followups() {
  const cases = snapshot.followups;
  put($("n-open"), n(sum(cases, 1)));
  put($("n-overdue"), n(sum(cases, 4)), `big${sum(cases, 4) ? " alarm" : ""}`);
  put($("n-completed"), n(sum(cases, 5)));
  put($("n-lost"), n(sum(cases, 7)));
  put($("n-completed-all"), t("today_of", { today: n(sum(cases, 5)), all: n(sum(cases, 6)) }));
  put($("n-lost-all"), t("today_of", { today: n(sum(cases, 7)), all: n(sum(cases, 8)) }));
  table("t-home", (cases ?? []).map(([district, open, visits, reached, overdue, completed, , gone, , leave, exceeded]) => [[district], count(open), count(visits), count(reached), count(overdue, true), count(leave), count(exceeded, true), count(gone), count(completed)]));
}
function pipeline() {
  const { workers, latency, sink, lag } = snapshot.pipeline, sure = known("workers");
  chips("workers", workers.map(([name, , state, at, orBefore]) => sure && state !== "unknown"
    ? [state === "ready" ? `${role(name)} ${t("ready")}` : `${role(name)} ${t("worker_since", { state: t(state), time: since(at, orBefore) })}`, state === "ready" ? "ok" : "bad"]
    : [`${role(name)} ${t("unknown")}`, "unknown"]));
  put($("latency"), !sure || latency === null ? t("unknown") : latency.p50 === null ? t("latency_none") : t("latency_values", { p50: short(latency.p50), p99: short(latency.p99) }));
  put($("sink"), !sure || sink === null || sink.rows === null ? t("unknown") : t("sink_values", { rows: n(Math.round(sink.rows)), buffered: n(sink.buffered), retries: n(sink.retries), until: sink.until === null ? t("unknown") : clock(sink.until) }));
  const behind = (lag ?? []).filter(([, , records]) => records).sort((a, b) => b[2] - a[2]).slice(0, 4).map(([who, topic, records]) => `${role(who)}: ${topic} ${n(records)}`);
  const unanswered = new Set(workers.filter(([, , state]) => state === "down").map(([name]) => `${role(name)}: ${t("unknown")}`));
  put($("lag"), !sure || lag === null ? t("unknown") : [...unanswered, ...behind].join(", ") || t("none"));
  const dead = snapshot.dead_letters;
  put($("dead"), dead === null || !known("dead_letters") ? t("unknown") : dead.length ? t("dead_count", { n: n(dead.reduce((total, row) => total + row[3], 0)) }) : t("none"));
  table("t-dead", (dead ?? []).map(([topic, why, lately, all]) => [[topic], [t(why)], count(lately, true), count(all)]));
  $("t-dead").closest(".scroll").hidden = !dead?.length;
}

// -- charts -----------------------------------------------------------------------------------------------------------------
let charts = [];
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function chart(holder, series, rows) {
  const zone = snapshot.timezone;
  const axis = { stroke: ink("soft"), grid: { stroke: ink("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return new uPlot({
    width: Math.max(holder.clientWidth, 200), height: holder.clientHeight, legend: { show: false }, cursor: { show: false },
    padding: [8, 6, 0, 0], tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zone),
    scales: { y: { range: (_, low, high) => [0, Math.max(4, high * 1.08)] } },
    axes: [{ ...axis, size: 30, space: 56, values: (_, at) => at.map(hm), incrs: [300, 600, 900, 1200, 1800] },
      { ...axis, size: 52, values: (_, at) => at.map((value) => (Number.isInteger(value) ? n(value) : "")) }],
    series: [{}, ...series.map((name) => ({ fill: ink(name), stroke: ink(name), width: 0, paths: uPlot.paths.bars({ size: [0.8, 40] }), points: { show: false } }))],
  }, rows, holder);
}
function minutes() {
  const hour = snapshot.minutes;
  if (!hour || typeof uPlot === "undefined") return;
  // Stacked bars: each series is drawn with the sum of all below it, the tallest first.
  const stacked = NOT_CLEAR.map((_, i) => hour.at.map((_, m) => NOT_CLEAR.slice(i).reduce((total, name) => total + hour[name][m], 0)));
  const rows = [[hour.at, hour.passages], [hour.at, ...stacked]];
  if (charts.length) charts.forEach((drawn, i) => drawn.setData(rows[i]));
  else charts = [chart($("chart-all"), ["bar"], rows[0]), chart($("chart-not-clear"), NOT_CLEAR, rows[1])];
  [["chart-all", "chart_all", hour.passages], ["chart-not-clear", "chart_not_clear", stacked[0]]].forEach(([id, what, values]) => {
    const label = t("chart_summary", { what: t(what), n: n(values.reduce((a, b) => a + b, 0)), max: n(Math.max(...values)) });
    if ($(id).getAttribute("aria-label") !== label) $(id).setAttribute("aria-label", label);
  });
  if ($("minutes").open) table("t-minutes", hour.at.map((at, m) => [[hm(at)], ...["passages", "clear", ...NOT_CLEAR].map((name) => count(hour[name][m]))]).reverse());
}
function redraw() {
  charts.forEach((drawn) => drawn.destroy());
  charts = [];
  render();
}

// -- asking -----------------------------------------------------------------------------------------------------------------
async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER), cache: "no-store" });
  if (!answer.ok) throw new Error(path);
  return answer.json();
}
let asking = false;
async function poll() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    snapshot = await ask("situation.json");
    gotAt = Date.now();
    render();
  } catch {
    if (snapshot === null) put($("connection"), t("lost", { time: new Date().toLocaleTimeString(locale()) }), "chip bad");
  } finally { asking = false; }
}
async function pollSites() {
  if ((!allShown && !$("find").value.trim()) || document.hidden) return;
  try { allSites = (await ask("sites.json")).sites; render(); } catch { /* the page shows that the connection is lost */ }
}
for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => {
  language = button.dataset.language;
  try { localStorage.setItem("language", language); } catch { /* the choice holds for this page only */ }
  translate();
  redraw();
});
$("more").addEventListener("click", () => { allProblems = !allProblems; render(); });
$("all").addEventListener("click", () => { allShown = !allShown; render(); pollSites(); });
$("find").addEventListener("input", () => { render(); if (!allSites) pollSites(); });
$("minutes").addEventListener("toggle", render);
document.addEventListener("visibilitychange", () => { poll(); pollSites(); });
addEventListener("online", poll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
translate();
setInterval(poll, POLL);
setInterval(pollSites, SITES);
setInterval(() => { if (lost()) render(); else if (snapshot) head(); }, 1000);
poll();
