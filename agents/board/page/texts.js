// Texts, figures and times in the language of the reader and the time zone of the deployment.

const texts = await (await fetch("texts.json")).json();
export const shown = { language: chosen(), timezone: "UTC", day: null };

function chosen() {
  try { const kept = localStorage.getItem("language"); if (kept === "en" || kept === "zh") return kept; } catch { /* without storage the choice is not kept */ }
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}
export function choose(language) {
  shown.language = language;
  try { localStorage.setItem("language", language); } catch { /* the choice holds for this page only */ }
}
/** The text of a key with its values: {n} stands for a value, and {n|list is|lists are} for the words after one or several. */
export function t(key, values = {}) {
  return (texts[key]?.[shown.language] ?? key)
    .replace(/\{(\w+)\|([^|}]*)\|([^}]*)\}/g, (_, name, one, several) => (values[name] === "1" ? one : several))
    .replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
/** The explanation of a term, or undefined if it has none. */
export const explanation = (key) => texts[`tip_${key}`]?.[shown.language];
// These codes are also the keys of other texts.
export const rule = (code) => t(code === "list_stale" ? "rule_list_stale" : code);
export const role = (code) => t(code === "lists" ? "role_lists" : code);
/** A text as the beginning of a label. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const locale = () => (shown.language === "zh" ? "zh-CN" : "en-GB");
// Creating a format takes a hundred times as long as using it, and a table of sites uses thousands.
const formats = new Map();
function format(kind, options = {}) {
  const key = `${kind.name} ${options.timeZone} ${options.day} ${shown.language}`;
  if (!formats.has(key)) formats.set(key, new kind(options.day ? "sv-SE" : locale(), options));
  return formats.get(key);
}
export const n = (value) => (value === null || value === undefined ? "—" : format(Intl.NumberFormat).format(value));

const dayOf = (at) => format(Intl.DateTimeFormat, { timeZone: shown.timezone, year: "numeric", month: "2-digit", day: "2-digit" }).format(at * 1000);
/** Sets the day whose times are shown without a date: that of the moment which the page shows. */
export function setMoment(timezone, asOf) {
  shown.timezone = timezone;
  shown.day = dayOf(asOf);
}
export function clock(at, withDay = false) {
  if (!at) return "—";
  const time = format(Intl.DateTimeFormat, { timeZone: shown.timezone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(at * 1000);
  return withDay || (shown.day !== null && dayOf(at) !== shown.day) ? `${dayOf(at)} ${time}` : time;
}
export const hm = (at) => (at ? clock(at).replace(/:\d\d$/, "") : "—");
export function age(seconds) {
  const [unit, size] = seconds < 90 ? ["s", 1] : seconds < 5400 ? ["min", 60] : seconds < 129_600 ? ["h", 3600] : ["d", 86_400];
  return t(unit, { n: n(Math.max(0, Math.floor(seconds / size))) });
}
export const since = (at, orBefore) => (orBefore ? t("or_before", { time: clock(at) }) : clock(at));
export const short = (seconds) => (seconds < 1 ? t("ms", { n: n(Math.round(seconds * 1000)) }) : t("s", { n: n(Math.round(seconds * 10) / 10) }));
