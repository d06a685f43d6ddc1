// All consumers at one look: headline figures, a row for each queue, and in a fleet a row for each process beneath it.

import { h } from "./dom.js";
import { called, empty, figure, later, meter, name, pill, sparkline, urgent } from "./parts.js";
import { ago, count, counted, rate, seconds, trend } from "./text.js";

const fleets = later(() => import("./fleet.js"), null);
const sum = (list, read) => list.reduce((total, each) => total + (read(each) ?? 0), 0);
const known = (list, read) => list.map(read).filter(each => each != null);
const picked = pick => (list, read) => known(list, read).reduce((one, other) => (one === null ? other : pick(one, other)), null);
const most = picked(Math.max);
const least = picked(Math.min);
const added = lists => (lists[0] || []).map((_, at) => sum(lists, list => list[at]));

// Several consumers of one queue as if they were one.
export function together(parts, backlog) {
  const summed = ["rate_in", "rate_out", "concurrency", "running", "waiting", "failures_per_minute"];
  const whole = Object.fromEntries(summed.map(name => [name, sum(parts, each => each[name])]));
  const calls = known(parts, each => each.calls_per_message);
  return {
    ...parts[0],
    ...whole,
    state: urgent(parts.map(each => each.state)),
    reason: parts.find(each => each.reason)?.reason || "",
    calls_per_message: calls.length ? sum(calls, each => each) / calls.length : null,
    lag_p95: most(parts, each => each.lag_p95),
    lease_margin: least(parts, each => each.lease_margin),
    spark_in: added(parts.map(each => each.spark_in)),
    spark_out: added(parts.map(each => each.spark_out)),
    backlog,
  };
}

export function tones(each) {
  const ended = sum(each.spark_out, done => done) + each.failures_per_minute; // in the last minute
  const failing = ended ? each.failures_per_minute / ended : 0;
  const margin = (each.lease_margin ?? Infinity) / (each.visibility_timeout || 30);
  const late = each.backlog && !each.backlog.outdated ? needs(each.backlog) : 0;
  return {
    failures: each.failures_per_minute < 1 ? "" : failing > 0.1 ? "bad" : failing > 0.01 ? "warn" : "",
    margin: margin < 0.08 ? "bad" : margin < 0.2 ? "warn" : "",
    backlog: each.backlog?.trend > 0.05 && each.backlog.visible > 9 && late > 60 ? (late > 600 ? "bad" : "warn") : "",
    lag: each.lag_p95 > 300 ? "bad" : each.lag_p95 > 60 ? "warn" : "",
  };
}

const RECENT = 10; // seconds for which a count of SQS is taken for the present one

// Seconds that a backlog needs at the present rate; endless when nothing is handled.
const needs = backlog => backlog.seconds ?? (backlog.visible ? Infinity : 0);
const brief = value => seconds(value).split(" ").slice(0, 2).join(" ");

// What the counts of SQS mean: where they are going, how long they need, and how old they are, once they are not new.
// Those that receives have shown to be out of date say only that.
function meaning(list, now) {
  const age = ago(least(list, each => each.asked), now);
  if (list.some(each => each.outdated)) return `out of date, from ${age}`;
  const time = most(list, needs);
  const old = list.some(each => now - each.asked > RECENT) ? `, ${age}` : "";
  if (!sum(list, each => each.visible)) return `empty${old}`;
  const way = trend(sum(list, each => each.trend)).sign;
  const clear = time === Infinity ? "not clearing" : `${time < 1 ? "under 1 s" : brief(time)} ${way === "↑" ? "of work" : "to clear"}`;
  return `${way} ${clear}${old}`;
}

export function headline(all, now) {
  const backlogs = known(all, each => each.backlog);
  const visible = sum(backlogs, each => each.visible);
  // The worst tone of a figure, and where it is, if there are several consumers.
  const worst = (about, note) => {
    const tone = ["bad", "warn"].find(level => all.some(each => tones(each)[about] === level));
    const there = tone && all.length > 1 ? all.filter(each => tones(each)[about] === tone) : [];
    return { tone, note: there.length ? `in ${there[0].queue}${there.length > 1 ? ` and ${there.length - 1} more` : ""}` : note };
  };
  return h("section", { class: "headline", "aria-label": "headline figures" },
    figure("in", "rate_in", rate(sum(all, each => each.rate_in)), { unit: "per s", note: "received" }),
    figure("out", "rate_out", rate(sum(all, each => each.rate_out)), { unit: "per s", note: "handled" }),
    figure("backlog", "backlog", backlogs.length ? count(visible) : "–", {
      unit: visible === 1 ? "message" : "messages", tone: worst("backlog").tone,
      note: backlogs.length ? meaning(backlogs, now) : "SQS was not asked" }),
    figure("lag p95", "lag", seconds(most(all, each => each.lag_p95)), worst("lag", all.some(each => each.lag_p95 != null) ? "sent to received" : "none in 60 s")),
    figure("failures", "failures", rate(sum(all, each => each.failures_per_minute)), { unit: "per min", ...worst("failures", "handlers that raised") }),
    figure("lease margin", "margin", seconds(least(all, each => each.lease_margin)), worst("margin", "smallest now")));
}

export function grouped(state) {
  const queues = new Map();
  for (const process of Object.values(state.processes)) {
    for (const [key, consumer] of Object.entries(process.consumers)) {
      if (!queues.has(key)) queues.set(key, []);
      queues.get(key).push({ process, consumer, key });
    }
  }
  return [...queues].map(([key, parts]) => ({ key, parts, whole: together(parts.map(each => each.consumer), state.queues[key].backlog) }));
}

const COLUMNS = [
  ["state", ""], ["consumer", ""], ["per second, 60 s", "rate_in"], ["running", "running"], ["waiting", "waiting"], ["backlog", "backlog"],
  ["lag p95", "lag"], ["lease margin", "margin"], ["failures / min", "failures"], ["calls / msg", "calls"],
];

function cells(each, now, uneven) {
  const tone = tones(each);
  const { backlog } = each;
  const cell = (label, tone, ...kids) => h("td", { "data-label": label, class: tone }, ...kids);
  const differs = about => uneven?.has(about) && h("span", { class: "uneven", "data-about": "uneven", tabindex: 0 }, "≠ uneven");
  return [
    cell("per second", "rates", sparkline(each.spark_in, each.spark_out),
      h("span", { class: "pair" }, h("span", {}, "in ", h("b", {}, rate(each.rate_in))), h("span", {}, "out ", h("b", {}, rate(each.rate_out))), differs("rate_out"))),
    cell("running", "", h("span", { class: "of" }, count(each.running), h("small", {}, ` of ${count(each.concurrency)}`)), meter(each.running, each.concurrency, `${count(each.running)} of ${count(each.concurrency)} running`)),
    cell("waiting", "", count(each.waiting)),
    backlog
      ? cell("backlog", tone.backlog, count(backlog.visible), h("small", {}, meaning([backlog], now)),
          backlog.dead_letters ? h("small", {}, h("span", { class: "warn" }, counted(backlog.dead_letters, "dead letter"))) : null)
      : cell("backlog", "", uneven ? "" : "–"),
    cell("lag p95", tone.lag, seconds(each.lag_p95), differs("lag_p95")),
    cell("lease margin", tone.margin, seconds(each.lease_margin)),
    cell("failures / min", tone.failures, rate(each.failures_per_minute), differs("failures_per_minute")),
    cell("calls / msg", "", each.calls_per_message?.toFixed(2) ?? "–"),
  ];
}

export function overview(state, route, link, redraw) {
  const wanted = route.q.toLowerCase();
  const ill = each => each.whole.state === "UNHEALTHY";
  const all = grouped(state).sort((one, other) => ill(other) - ill(one));
  const rows = all.filter(({ key, whole }) => `${key} ${whole.handler} ${whole.state}`.toLowerCase().includes(wanted));
  const processes = Object.values(state.processes);
  return [
    headline(all.flatMap(each => each.whole), state.now),
    h("div", { class: "tools" },
      h("input", { type: "search", id: "filter", placeholder: "Filter consumers  /", "aria-label": "filter consumers", value: route.q, oninput: event => link.filter(event.target.value) }),
      h("span", { class: "quiet" }, rows.length === all.length ? counted(all.length, "consumer") : `${count(rows.length)} of ${counted(all.length, "consumer")}`,
        state.fleet ? ` in ${counted(processes.length, "process", "processes")}` : "")),
    !all.length
      ? !processes.some(each => each.started && each.state !== "UNREACHABLE")
        ? empty("No process answers yet.", "The consumers of a process are shown when it does.")
        : empty("No consumers here yet.", "Declare one with @app.consumer(\"orders\"), or check that the right module was given to leasekeeper run.")
      : !rows.length
        ? empty(`No consumer matches “${route.q}”.`, h("button", { type: "button", onclick: () => link.filter("") }, "Clear the filter"))
        : h("table", { class: `consumers hold${state.fleet ? " fleet" : ""}`, hold: true },
            h("thead", {}, h("tr", {}, COLUMNS.map(([label, about]) => h("th", { scope: "col", "data-about": about || undefined, tabindex: about ? 0 : undefined }, label)))),
            rows.map(each => group(each, state, link))),
    state.fleet && fleets(({ missing }) => missing(processes), redraw),
  ];
}

function group({ key, parts, whole }, { fleet, now }, link) {
  const uneven = fleet && parts.length > 2 ? fleets(({ unevenness }) => unevenness(parts), () => {}) : null;
  const open = (process, event) => event.target.closest("a, button, [data-about]") || link.go({ consumer: key, process });
  const first = parts.length === 1 ? parts[0].process.key : "";
  return h("tbody", { key },
    h("tr", { class: "whole", "data-row": true, tabindex: -1, onclick: event => open(first, event) },
      h("td", { "data-label": "state" }, pill(whole.state)),
      h("th", { scope: "row", class: "who" }, link.to({ consumer: key, process: first }, name(key)), h("small", {}, name(whole.handler)),
        whole.reason && h("small", { class: "why" }, h("bdi", {}, whole.reason.replaceAll("`", "")))),
      cells(whole, now)),
    fleet && parts.length > 1 && parts.map(each =>
      h("tr", { key: each.process.key, class: "part", "data-row": true, tabindex: -1, onclick: event => open(each.process.key, event) },
        h("td", { "data-label": "state" }, pill(each.consumer.state)),
        h("th", { scope: "row", class: "who" }, link.to({ consumer: key, process: each.process.key }, name(called(each.process)))),
        cells({ ...each.consumer, backlog: null }, now, uneven?.get(each.process.key)))));
}
