// The situation page. It asks for a snapshot every two seconds and shows it. Every text is inserted as text, never as markup.
// The page marks what is unknown or outdated: silence never counts as good.

import { clearCharts, showMinutes } from "./charts.js";
import { Table, element, figure, fill, put, words } from "./tables.js";
import { age, capital, choose, clock, explanation, hm, n, role, rule, setMoment, short, shown, since, t } from "./texts.js";
import "./tips.js";

const POLL = 2000, SITES = 10_000, ANSWER = 4000, LOST = 6000, MOST_ROWS = 2000, SILENT_NAMED = 2, LONG_FIGURE = 8;
const NOT_CLEAR = ["refer", "quarantine", "turn_back", "hold"], OUTCOMES = [...NOT_CLEAR, "clear"];
const SLOW = new Set(["settled_today", "sites"]); // they change little: they must be known, but their age is not shown
const SUBJECT = ["part", "role", "address", "topic", "authority", "list", "batch", "site"]; // the figures that distinguish two problems with the same code
const CALM = ["all_well", "not_all_checked"];
const SITE_STATES = { unknown: "unknown", silent: "bad", conflicts: "bad", gaps: "warn", ok: "ok", arrivals: "ok", quiet: "quiet", nothing: "quiet" };
// The panel that shows what a problem or a part is about. Of the other parts it is the one with their stamp.
const PLACES = {
  list_missing: "lists", list_stale: "lists", heartbeat_old: "lists", heartbeat_never: "lists", batch_held: "lists", list_old: "lists", no_passage: "hour", silent: "sites", gaps: "sites", conflicts: "sites",
  readings_missed: "beds", beds_full: "beds", terms_exceeded: "beds", overdue: "home", order_ended: "today", order_ends: "today", arrivals: "today",
  transfers: "today",
};

const $ = (id) => document.getElementById(id);
let snapshot = null, gotAt = 0, allSites = null, allShown = false, allProblems = false, announced = new Map();
// On a small screen fewer are shown at first, so that the next panel is not far away.
const problemsShown = () => (innerWidth < 760 ? 3 : 6), sitesShown = () => (innerWidth < 1200 ? 10 : 40);
const lost = () => snapshot !== null && Date.now() - gotAt > LOST;
const known = (part) => !lost() && Boolean(snapshot.parts[part]?.known);
const sum = (rows, at) => (rows ? rows.reduce((total, row) => total + row[at], 0) : null);

// -- tables -----------------------------------------------------------------------------------------------------------------
const named = (places, more) => (more > 0 ? t("places_more", { most: places.join(", "), n: n(more) }) : places.join(", "));
const first = { place: "first" }, alarm = { alarm: true };
const tables = {
  minutes: new Table("t-minutes", [
    { key: "minute", by: ([at]) => at, cell: ([at]) => ({ text: hm(at) }) },
    figure("passages", (row) => row[1], first), figure("clear", (row) => row[2], first),
    ...NOT_CLEAR.map((name, i) => figure(name, (row) => row[3 + i], { mark: name })),
  ]),
  rules: new Table("t-rules", [
    words("rule", ([code]) => rule(code)),
    figure("five_minutes", (row) => row[1], { ...first, ...alarm }), figure("one_hour", (row) => row[2], first), figure("day", (row) => row[3], first),
    words("sites_today", (row) => named(row[5].map(([site, times]) => `${site}\u00a0${n(times)}`), row[4] - row[5].length), { place: "line", name: "places" }),
  ]),
  caseAlerts: new Table("t-case-alerts", [
    words("rule", ([code]) => rule(code)),
    figure("day", (row) => row[1], { ...first, ...alarm }), figure("day_before", (row) => row[2], first),
    words("places", (row) => named(row[4].map(([place, today, before]) => t(before ? "place_both_days" : "place_today", { place, today: n(today), before: n(before) })), row[3] - row[4].length), { place: "line", name: "places" }),
  ]),
  sites: new Table("t-sites", [
    words("site", ([site]) => site),
    { key: "state", place: "line", by: (row) => Object.keys(SITE_STATES).indexOf(siteState(row)), cell: siteCell },
    figure("passages", (row) => row[2], first),
    ...NOT_CLEAR.map((name, i) => figure(name, (row) => row[3 + i], { mark: name })),
    { key: "last", place: "first", number: true, by: (row) => row[7], cell: (row) => ({ text: hm(row[7]) }) },
  ], pollSites),
  lists: new Table("t-lists", [words("list", (row) => row[1]), { key: "applied", place: "line", by: (row) => row[3], cell: listCell }, words("category", (row) => t(row[2])), words("authority", (row) => row[0])]),
  held: new Table("t-held", [words("batch", (row) => row[2]), words("list", (row) => row[1]), words("authority", (row) => row[0]), words("why", (row) => t(row[3])), figure("lines", (row) => row[4], first)]),
  beds: new Table("t-beds", [
    words("site", ([site]) => site),
    figure("capacity", (row) => row[1]), figure("present", (row) => row[2], first),
    { ...figure("free", (row) => row[3], first), cell: ([, capacity, present, free]) => ({ text: n(free), name: free > 0 || !(capacity || present) ? "" : "alarm" }) },
    figure("due", (row) => row[4]), figure("done", (row) => row[5]), figure("missed", (row) => row[6], { ...first, ...alarm }), figure("missed_before", (row) => row[7], alarm),
    figure("leave_today", (row) => row[8]), figure("past_term", (row) => row[9], alarm),
  ]),
  home: new Table("t-home", [
    words("district", ([district]) => district),
    figure("open", (row) => row[1], first), figure("visits", (row) => row[2], first), figure("reached", (row) => row[3]), figure("was_overdue", (row) => row[4], { ...first, ...alarm }),
    figure("leave_today", (row) => row[9]), figure("past_term", (row) => row[10], alarm), figure("lost_cases", (row) => row[7]), figure("completed", (row) => row[5]),
  ]),
  dead: new Table("t-dead", [words("topic", ([topic]) => topic), words("why", (row) => t(row[1]), { place: "line" }), figure("this_hour", (row) => row[2], { ...first, ...alarm }), figure("all_day", (row) => row[3], first)]),
};
function siteState([, state]) { return lost() ? "unknown" : state; }
function siteCell(row) {
  const [, , , , , , , , missing, silent, arrivals, conflicts] = row, state = siteState(row), notes = [];
  if (state === "silent") notes.push(named(silent.slice(0, SILENT_NAMED).map(([device, minutes]) => t("device_silent", { device, age: age(minutes * 60) })), silent.length - SILENT_NAMED));
  if (state === "silent" && conflicts) notes.push(t("used_twice", { n: n(conflicts) }));
  if (["silent", "conflicts"].includes(state) && missing) notes.push(t("missing", { n: n(missing) }));
  if (arrivals && state !== "unknown") notes.push(t("arrivals_values", arrivalValues(arrivals)));
  const text = { gaps: () => t("missing", { n: n(missing) }), conflicts: () => t("used_twice", { n: n(conflicts) }) }[state] ?? (() => t(`state_${state}`));
  return { text: text(), chip: SITE_STATES[state], note: notes.join(", ") };
}
function listCell([, , category, seconds]) {
  const pass = category === "health_pass", old = seconds > 86_400 && !pass;
  const chip = known("lists") ? (old ? "warn" : pass ? "quiet" : "ok") : "unknown";
  return { text: t(chip === "unknown" ? "unknown" : old ? "old" : "ago", { age: age(seconds) }), chip };
}
const arrivalValues = (arrivals) => { const [registered, boarded, delivered] = arrivals ?? [null, null, null]; return { registered: n(registered), boarded: n(boarded), delivered: n(delivered) }; };

tables.lists.none = "none_lists";

// -- the page ---------------------------------------------------------------------------------------------------------------
function translate() {
  document.documentElement.lang = shown.language === "zh" ? "zh-CN" : "en";
  document.title = `${t("title")} · ninezero`;
  for (const text of document.querySelectorAll("[data-t]")) {
    const key = text.dataset.t;
    put(text, t(key));
    if (explanation(key)) explain(text, key);
  }
  for (const named of document.querySelectorAll("[data-t-label]")) named.setAttribute("aria-label", t(named.dataset.tLabel));
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === shown.language));
  Object.values(tables).forEach((table) => table.translate());
  announced = new Map();
}
function explain(term, key) {
  term.dataset.tip = key;
  term.tabIndex = 0;
}
function render() {
  if (snapshot === null) return;
  setMoment(snapshot.timezone, snapshot.as_of);
  head();
  problems();
  stamps();
  figures();
  minutes();
  tables.rules.show(snapshot.rules ?? []);
  policy();
  tables.caseAlerts.show(snapshot.case_alerts ?? []);
  sites();
  lists();
  beds();
  followups();
  pipeline();
}
function head() {
  const gone = lost();
  put($("connection"), gone ? t("lost", { time: clock(gotAt / 1000) }) : snapshot.replay ? t("replay", { time: clock(snapshot.as_of, true) }) : t("live"), `chip ${gone ? "bad" : snapshot.replay ? "warn" : "ok"}`);
  put($("time"), snapshot.replay ? "" : clock(snapshot.at + (Date.now() - gotAt) / 1000));
  put($("order"), t("order", { order: snapshot.order, end: clock(snapshot.sunset, true) }));
}
function policy() {
  const held = lost() ? null : snapshot.policy, then = held?.next;
  const parts = held ? [t("policy", held)] : [t("policy_unknown")];
  if (held?.shadows.length) parts.push(t("policy_shadows", { policies: held.shadows.join(", ") }));
  if (held) parts.push(then ? t("policy_next", { policy: then.policy, time: clock(then.at, true) }) : t("policy_stays"));
  put($("policy"), parts.join(shown.language === "zh" ? "" : " "));
}
function problemText(code, values) {
  const of = { ...values };
  for (const name of ["n", "sites", "devices", "seconds"]) if (name in of) of[name] = n(of[name]);
  if ("since" in of) of.time = since(of.since, of.or_before);
  if ("age" in of) of.age = age(of.age);
  if ("role" in of) of.role = code === "lag" ? capital(role(of.role)) : role(of.role);
  if ("part" in of) of.part = t(`part_${of.part}`);
  if ("code" in of) of.code = t(of.code);
  return of;
}
const placeOf = (code, { part }) => PLACES[part ?? code] ?? document.querySelector(`[data-stamp~="${part}"]`)?.closest("section").id ?? "pipeline";
function problems() {
  const found = lost() ? [["bad", "connection_lost", { since: gotAt / 1000 }], ...snapshot.problems] : snapshot.problems;
  const checked = Object.values(snapshot.parts).every((part) => part.known);
  const lines = found.map(([level, code, values]) => {
    const of = problemText(code, values);
    return { level, word: t(level), text: t(code, of), todo: t(`do_${code}`, { ...of, role: values.role }), place: placeOf(code, values), key: SUBJECT.reduce((key, name) => `${key} ${values[name] ?? ""}`, code) };
  });
  if (!lines.length) lines.push(checked ? { level: "ok", word: "✓", text: t("all_well"), key: CALM[0] } : { level: "unknown", word: "?", text: t("not_all_checked"), key: CALM[1] });
  $("more").hidden = lines.length <= problemsShown();
  $("more").setAttribute("aria-expanded", String(allProblems));
  put($("more"), allProblems ? t("show_few") : t("more_problems", { n: n(lines.length - problemsShown()) }));
  fill($("problems"), allProblems ? lines : lines.slice(0, problemsShown()), () => element("li", {}, element("span"), element("p"), element("p")), (li, { level, word, text, todo, place }) => {
    if (li.className !== level) li.className = level;
    put(li.children[0], word, "level");
    if (!place) li.children[1].replaceChildren(text);
    else if (li.children[1].firstElementChild?.hash === `#${place}`) put(li.children[1].firstElementChild, text);
    else li.children[1].replaceChildren(element("a", { href: `#${place}` }, text));
    put(li.children[2], todo ?? "", "todo");
  });
  // A screen reader announces new and resolved problems, not every figure that changes.
  const now = new Map(lines.map(({ text, key }) => [key, text]));
  const fresh = [...now].filter(([key]) => !announced.has(key)).map(([, text]) => text);
  const over = [...announced].filter(([key]) => !now.has(key) && !CALM.includes(key)).map(([, text]) => t("resolved", { what: text }));
  if (fresh.length || over.length) put($("announce"), [...fresh, ...over].join(shown.language === "zh" ? "。" : ". "));
  announced = now;
}
const oldest = (parts) => Math.min(...parts.filter((name) => !SLOW.has(name)).map((name) => snapshot.parts[name].at ?? Infinity));
const unknownSince = (parts) => (Number.isFinite(oldest(parts)) ? t("unknown_since", { time: clock(oldest(parts)) }) : t("unknown"));
function stamps() {
  for (const stamp of document.querySelectorAll("[data-stamp]")) {
    const parts = stamp.dataset.stamp.split(" "), all = parts.every(known);
    const pending = !all && !lost() && !snapshot.problems.some(([, code]) => code === "part_unknown" || code === "clickhouse_silent" || code === "workers_unknown");
    put(stamp, all ? t("checked", { age: age(snapshot.at - oldest(parts)) }) : pending ? t("waiting") : unknownSince(parts), `stamp${all ? "" : " chip unknown"}`);
    stamp.closest("section").classList.toggle("unknown-panel", !all);
  }
}
function figures() {
  const { today, minutes: hour, transfers } = snapshot;
  const total = (name) => (hour ? hour[name].reduce((a, b) => a + b, 0) : null);
  const of = (name) => n(today ? today[name] ?? 0 : null);
  for (const name of [...OUTCOMES, "passages"]) put($(`n-${name}`), of(name), `big${of(name).length >= LONG_FIGURE ? " long" : ""}`);
  for (const name of ["people", "fevers"]) put($(`n-${name}`), of(name));
  for (const name of [...OUTCOMES, "passages"]) {
    put($(`h-${name}`), n(total(name)));
    put($(`m-${name}`), n(hour ? hour[name].at(-2) : null));
  }
  put($("arrivals"), known("arrivals") ? t("arrivals_values", arrivalValues(snapshot.arrivals)) : unknownSince(["arrivals"]));
  const counted = (name) => n(transfers ? transfers[name] : null);
  put($("transfers"), !known("transfers") ? unknownSince(["transfers"]) : t("transfers_values", { transfers: counted("transfers"), boarded: counted("boarded"), delivered: counted("delivered"), missing: counted("missing") }));
}
function minutes() {
  const hour = snapshot.minutes;
  const drawn = hour && showMinutes(hour, NOT_CLEAR);
  if (!drawn) return;
  [["chart-all", "chart_all", drawn.passages], ["chart-not-clear", "chart_not_clear", drawn.notClear]].forEach(([id, what, values]) => {
    const label = t("chart_summary", { what: t(what), n: n(values.reduce((a, b) => a + b, 0)), max: n(Math.max(...values)) });
    if ($(id).getAttribute("aria-label") !== label) $(id).setAttribute("aria-label", label);
  });
  if ($("minutes").open) tables.minutes.show(hour.at.map((at, m) => [at, ...["passages", "clear", ...NOT_CLEAR].map((name) => hour[name][m])]).reverse());
}
function chips(id, items) {
  fill($(id), items, () => element("li", {}, element("b"), element("span")), (li, { count = "", text, chip, tip }) => {
    put(li.firstElementChild, count);
    put(li.lastElementChild, text, `chip ${chip}`);
    if (tip) explain(li.lastElementChild, tip);
  });
}
function sites() {
  const states = snapshot.site_states, total = Object.values(states).reduce((a, b) => a + b, 0);
  chips("site-states", lost() ? [{ count: n(total), text: t("state_unknown"), chip: "unknown" }]
    : Object.keys(SITE_STATES).filter((state) => states[state]).map((state) => ({ count: n(states[state]), text: t(`state_${state}`), chip: SITE_STATES[state], tip: `state_${state}` })));
  const wanted = $("find").value.trim().toLowerCase();
  const source = needAllSites() && allSites ? allSites : snapshot.sites;
  const found = source.filter((row) => row[0].toLowerCase().includes(wanted));
  put($("more-sites"), found.length > MOST_ROWS && allShown ? t("first_of", { n: n(MOST_ROWS), all: n(found.length) }) : "");
  tables.sites.none = wanted ? "none" : "none_sites";
  tables.sites.show(found, allShown || wanted ? MOST_ROWS : sitesShown());
  put($("all"), allShown ? t("show_few") : t("show_all", { n: n(total) }));
  $("all").setAttribute("aria-expanded", String(allShown));
  $("all").hidden = total <= sitesShown();
}
function lists() {
  const { applied = [], held = [] } = snapshot.lists ?? {};
  tables.lists.show(applied);
  tables.held.show(held);
  $("h-held").hidden = $("t-held").closest(".scroll").hidden = !held.length;
  const { heartbeat, entries } = snapshot.pipeline, sure = known("workers");
  put($("heartbeat"), sure && heartbeat !== null ? t("ago", { age: age(heartbeat) }) : t("unknown"));
  put($("entries"), n(sure && entries ? Object.values(entries).reduce((a, b) => a + b, 0) : null));
}
function beds() {
  const places = snapshot.quarantine;
  put($("n-free"), n(sum(places, 3)), `big${places && sum(places, 3) <= 0 && places.length ? " alarm" : ""}`);
  put($("n-beds"), t("beds_taken", { present: n(sum(places, 2)), n: n(sum(places, 1)) }));
  put($("n-missed"), n(sum(places, 6)), `big${sum(places, 6) ? " alarm" : ""}`);
  put($("n-readings"), t("readings_done", { done: n(sum(places, 5)), due: n(sum(places, 4)) }));
  tables.beds.show(places ?? []);
}
function followups() {
  const cases = snapshot.followups;
  put($("n-open"), n(sum(cases, 1)));
  put($("n-visits"), t("visits_today", { visits: n(sum(cases, 2)), reached: n(sum(cases, 3)) }));
  put($("n-overdue"), n(sum(cases, 4)), `big${sum(cases, 4) ? " alarm" : ""}`);
  put($("n-completed"), n(sum(cases, 5)));
  put($("n-lost"), n(sum(cases, 7)));
  put($("n-completed-all"), t("all_time", { all: n(sum(cases, 6)) }));
  put($("n-lost-all"), t("all_time", { all: n(sum(cases, 8)) }));
  tables.home.show(cases ?? []);
}
function pipeline() {
  const { workers, latency, sink, lag, rate } = snapshot.pipeline, sure = known("workers");
  chips("workers", workers.map(([name, , state, at, orBefore]) => sure && state !== "unknown"
    ? { text: t("worker_state", { role: capital(role(name)), state: state === "ready" ? t(state) : t("worker_since", { state: t(state), time: since(at, orBefore) }) }), chip: state === "ready" ? "ok" : "bad" }
    : { text: t("worker_state", { role: capital(role(name)), state: t("unknown") }), chip: "unknown" }));
  put($("rate"), !sure || rate === null ? t("unknown") : t("events_a_second", { n: n(Math.round(rate)) }));
  put($("latency"), !sure || latency === null ? t("unknown") : latency.p50 === null ? t("latency_none") : t("latency_values", { p50: short(latency.p50), p99: short(latency.p99) }));
  put($("sink"), !sure || sink === null || sink.rows === null ? t("unknown") : t("sink_values", { rows: n(Math.round(sink.rows)), buffered: n(sink.buffered), retries: n(sink.retries) }));
  put($("until"), !sure || sink === null || sink.until === null ? t("unknown") : clock(sink.until));
  const behind = (lag ?? []).filter(([, , records]) => records).sort((a, b) => b[2] - a[2]).slice(0, 4).map(([who, topic, records]) => `${capital(role(who))}: ${topic} ${n(records)}`);
  const unanswered = new Set(workers.filter(([, , state]) => state === "down").map(([name]) => `${capital(role(name))}: ${t("unknown")}`));
  put($("lag"), !sure || lag === null ? t("unknown") : [...unanswered, ...behind].join(", ") || t("none"));
  const dead = snapshot.dead_letters;
  put($("dead"), dead === null || !known("dead_letters") ? t("unknown") : dead.length ? t("dead_count", { n: n(sum(dead, 3)) }) : t("none"));
  tables.dead.show(dead ?? []);
  $("t-dead").closest(".scroll").hidden = !dead?.length;
}
function redraw() {
  clearCharts();
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
    if (snapshot === null) put($("connection"), t("lost", { time: new Date().toLocaleTimeString([], { timeZoneName: "short" }) }), "chip bad");
  } finally { asking = false; }
}
// The snapshot has the first sites of the usual order only.
function needAllSites() { return allShown || Boolean($("find").value.trim()) || tables.sites.order !== null; }
async function pollSites() {
  if (!needAllSites() || document.hidden) return;
  try { allSites = (await ask("sites.json")).sites; render(); } catch { /* the page shows that the connection is lost */ }
}
for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => {
  choose(button.dataset.language);
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
addEventListener("resize", render);
translate();
setInterval(poll, POLL);
setInterval(pollSites, SITES);
setInterval(() => { if (lost()) render(); else if (snapshot) head(); }, 1000);
poll();
