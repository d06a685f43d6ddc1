// All consumers at one look: headline figures, a row for each queue, and in a fleet a row for each process beneath it.

import { h } from "./dom.js";
import { called, empty, figure, meter, name, pill, sparkline, urgent } from "./parts.js";
import { ago, count, counted, rate, seconds, trend } from "./text.js";

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
  const perMinute = each.rate_out * 60 + each.failures_per_minute;
  const failing = perMinute ? each.failures_per_minute / perMinute : 0;
  const margin = (each.lease_margin ?? Infinity) / (each.visibility_timeout || 30);
  const late = each.backlog && !each.backlog.outdated ? needs(each.backlog) : 0;
  return {
    failures: each.failures_per_minute < 1 ? "" : failing > 0.1 ? "bad" : failing > 0.01 ? "warn" : "",
    margin: margin < 0.08 ? "bad" : margin < 0.2 ? "warn" : "",
    backlog: each.backlog?.trend > 0.05 && late > 60 ? (late > 600 ? "bad" : "warn") : "",
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
  const worst = about => ["bad", "warn"].find(level => all.some(each => tones(each)[about] === level));
  return h("section", { class: "headline", "aria-label": "headline figures" },
    figure("in", "rate_in", rate(sum(all, each => each.rate_in)), { unit: "per s", note: "received" }),
    figure("out", "rate_out", rate(sum(all, each => each.rate_out)), { unit: "per s", note: "handled" }),
    figure("backlog", "backlog", backlogs.length ? count(sum(backlogs, each => each.visible)) : "–", {
      unit: "messages", tone: worst("backlog"),
      note: backlogs.length ? meaning(backlogs, now) : "SQS was not asked" }),
    figure("lag p95", "lag", seconds(most(all, each => each.lag_p95)), { tone: worst("lag"), note: all.some(each => each.lag_p95 != null) ? "sent to received" : "none in 60 s" }),
    figure("failures", "failures", rate(sum(all, each => each.failures_per_minute)), { unit: "per min", tone: worst("failures"), note: "handlers that raised" }),
    figure("lease margin", "margin", seconds(least(all, each => each.lease_margin)), { tone: worst("margin"), note: "smallest now" }));
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

// What differs from the median of the processes by more than half, where the values are large enough to mean something.
export function unevenness(parts) {
  const found = new Map(parts.map(each => [each.process.key, new Set()]));
  if (parts.length < 3) return found;
  for (const [about, enough] of [["rate_out", 2], ["lag_p95", 1], ["failures_per_minute", 3]]) {
    const values = parts.map(each => each.consumer[about]).sort((one, other) => one - other);
    const middle = values[values.length >> 1];
    for (const { process, consumer } of parts) {
      const off = Math.abs(consumer[about] - middle);
      if (off > enough && off > middle / 2) found.get(process.key).add(about);
    }
  }
  return found;
}

export function overview(state, route, link) {
  const wanted = route.q.toLowerCase();
  const all = grouped(state);
  const rows = all.filter(({ key, whole }) => `${key} ${whole.handler} ${whole.state}`.toLowerCase().includes(wanted));
  const processes = Object.values(state.processes);
  const missing = processes.filter(each => !Object.keys(each.consumers).length);
  return [
    headline(all.flatMap(each => each.whole), state.now),
    h("div", { class: "tools" },
      h("input", { type: "search", id: "filter", placeholder: "Filter consumers  /", "aria-label": "filter consumers", value: route.q, oninput: event => link.filter(event.target.value) }),
      h("span", { class: "quiet" }, rows.length === all.length ? counted(all.length, "consumer") : `${count(rows.length)} of ${counted(all.length, "consumer")}`,
        state.fleet ? ` in ${counted(processes.length, "process", "processes")}` : "")),
    !all.length
      ? empty("No consumers here yet.", "Declare one with @app.consumer(\"orders\"), or check that the right module was given to leasekeeper run.")
      : !rows.length
        ? empty(`No consumer matches “${route.q}”.`, h("button", { type: "button", onclick: () => link.filter("") }, "Clear the filter"))
        : h("table", { class: `consumers hold${state.fleet ? " fleet" : ""}`, hold: true },
            h("thead", {}, h("tr", {}, COLUMNS.map(([label, about]) => h("th", { scope: "col", "data-about": about || undefined, tabindex: about ? 0 : undefined }, label)))),
            rows.map(each => group(each, state, link))),
    missing.length && state.fleet
      ? h("section", { class: "missing" }, h("h2", {}, missing.some(each => each.state === "UNREACHABLE") ? "Processes that do not answer" : "Processes without consumers"),
          missing.map(each => h("p", { key: each.key }, pill(each.state), " ", name(called(each)), " ", h("span", { class: "quiet" }, each.reason || "no consumer declared"))))
      : null,
  ];
}

function group({ key, parts, whole }, { fleet, now }, link) {
  const uneven = unevenness(parts);
  const open = (process, event) => event.target.closest("a, button, [data-about]") || link.go({ consumer: key, process });
  const first = parts.length === 1 ? parts[0].process.key : "";
  return h("tbody", { key },
    h("tr", { class: "whole", "data-row": true, tabindex: -1, onclick: event => open(first, event) },
      h("td", { "data-label": "state" }, pill(whole.state)),
      h("th", { scope: "row", class: "who" }, link.to({ consumer: key, process: first }, name(key)), h("small", {}, name(whole.handler)),
        whole.reason && whole.state !== "RUNNING" && h("small", { class: "why" }, h("bdi", {}, whole.reason))),
      cells(whole, now)),
    fleet && parts.length > 1 && parts.map(each =>
      h("tr", { key: each.process.key, class: "part", "data-row": true, tabindex: -1, onclick: event => open(each.process.key, event) },
        h("td", { "data-label": "state" }, pill(each.consumer.state)),
        h("th", { scope: "row", class: "who" }, link.to({ consumer: key, process: each.process.key }, name(called(each.process)))),
        cells({ ...each.consumer, backlog: null }, now, uneven.get(each.process.key)))));
}
