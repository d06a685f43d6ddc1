// The tabs of a consumer, except dead letters: what is in hand, failures, the throttler, leases, options, doctor.

import { confirm } from "./actions.js";
import { h } from "./dom.js";
import { copyable, empty, name } from "./parts.js";
import { ago, clock, count, counted, rate, seconds } from "./text.js";
import { steps } from "./charts.js";

const MOST_ROWS = 100;

function table(kind, heads, rows) {
  return h("table", { class: `list ${kind} hold`, hold: true }, h("thead", {}, h("tr", {}, heads.map(each => h("th", { scope: "col" }, each)))), h("tbody", {}, rows));
}

const cell = (label, ...kids) => h("td", { "data-label": label }, ...kids);
const matching = (list, wanted, text) => (wanted ? list.filter(each => text(each).toLowerCase().includes(wanted.toLowerCase())) : list);
const none = (wanted, title, ...more) => (wanted ? empty(`Nothing matches “${wanted}”.`) : empty(title, ...more));

const HEADS = [
  ["message", 0], ["state", ([, row]) => row[0]], ["attempt", ([, row]) => -row[4]], ["in hand", ([, row]) => row[1]],
  ["runs for", ([, row]) => row[2] ?? Infinity], ["lease left", ([, row]) => row[3]], ["group", ([, row]) => row[5] ?? ""],
];

export function inHand({ state, route, link, detail, leases, each }) {
  const now = state.now;
  const lease = each.visibility_timeout || 30;
  const sort = HEADS.find(([label]) => label === route.sort) || HEADS[3];
  const key = sort[1] || (([id]) => id);
  const all = Object.entries(detail.in_hand);
  const found = matching(all, route.q, ([id, row]) => `${id} ${row[0]} ${row[5] ?? ""}`);
  if (!found.length) return none(route.q, "Nothing is in hand.", each.state === "PAUSED" ? "The consumer is paused." : "The pollers wait for messages.");
  found.sort((one, other) => (key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : 0));
  const groups = all.some(([, row]) => row[5]);
  const heads = groups ? HEADS : HEADS.slice(0, -1);
  return [
    found.length > MOST_ROWS || detail.in_hand_total > all.length
      ? h("p", { class: "quiet" }, `${counted(Math.min(found.length, MOST_ROWS), "row")} of ${count(route.q ? found.length : detail.in_hand_total)}, in this order. Filter by id, state or group to see others.`)
      : null,
    table("in-hand", heads.map(([label]) => h("button", { type: "button", class: "sort", "aria-pressed": String(label === sort[0]), onclick: () => link.change({ sort: label }) }, label, label === sort[0] ? " ▾" : "")),
      found.slice(0, MOST_ROWS).map(([id, [what, received, started, end, attempt, group]]) => {
        const left = end - now;
        return h("tr", { key: id, "data-row": true, tabindex: -1, onclick: () => leases.choose(id), class: leases.chosen === id ? "on" : "" },
          cell("message", h("code", {}, id)),
          cell("state", h("span", { class: what === "lease_lost" ? "bad" : "" }, what === "lease_lost" ? "✕ lease lost" : what)),
          cell("attempt", count(attempt)),
          cell("in hand", seconds(Math.max(0, now - received))),
          cell("runs for", started ? seconds(Math.max(0, now - started)) : "–"),
          h("td", { "data-label": "lease left", class: left < 0.08 * lease ? "bad" : left < 0.2 * lease ? "warn" : "" }, left > 0 ? seconds(left) : "ended"),
          groups ? cell("group", group ? name(group) : "–") : null);
      })),
  ];
}

export function failures({ state, route, detail }) {
  const found = matching(detail.failures, route.q, each => `${each.type} ${each.where} ${each.message} ${each.ids.join(" ")}`);
  if (!found.length) return none(route.q, "No handler has failed since this surface began to look.");
  return h("div", { class: "cards hold", hold: true }, found.map(each =>
    h("details", { class: "card", key: `${each.type} ${each.where}` },
      h("summary", { "data-row": true },
        h("span", { class: "what" }, h("b", {}, name(each.type)), h("code", {}, name(each.where))),
        h("span", { class: "figures" }, h("b", {}, count(each.count)), ` ${each.count === 1 ? "time" : "times"}`, h("small", {}, `first ${ago(each.first, state.now)}, last ${ago(each.last, state.now)}`))),
      h("p", {}, h("bdi", {}, each.message || "(no text)")),
      h("pre", { tabindex: 0 }, each.traceback || "(no traceback)"),
      h("div", { class: "ids" }, h("span", { class: "quiet" }, `${counted(each.ids.length, "newest message", "newest messages")}: `), each.ids.slice(0, 10).map(id => copyable(id))))));
}

const WHAT = { limit: "most in hand", pollers: "pollers", prefetch: "prefetch", state: "state" };

export function throttler({ state, each, detail }) {
  const { decisions } = detail;
  return [
    h("p", { class: "quiet" }, `Now at most ${counted(each.limit ?? 0, "message")} in hand, of which ${count(each.prefetch ?? 0)} may wait, and ${counted(each.pollers.length, "poller")}. The throttler holds few messages when there is little to do, and enough that handlers never wait.`),
    decisions.length ? steps(decisions, each, state.now) : null,
    decisions.length
      ? table("decisions", ["at", "what", "from", "to", "why"], [...decisions].reverse().slice(0, MOST_ROWS).map((one, at) =>
          h("tr", { key: `${one.at} ${one.what} ${decisions.length - at}`, "data-row": true, tabindex: -1 },
            cell("at", clock(one.at)), cell("what", WHAT[one.what] || one.what), cell("from", String(one.from)), cell("to", h("b", {}, String(one.to))), h("td", { "data-label": "why", class: "text" }, one.reason))))
      : empty("No change since this surface began to look.", "The throttler changes its limits when the load changes."),
  ];
}

const NEWS = { extended: ["+", "extended"], lost: ["✕", "lost"], failed: ["▲", "not extended"] };

export function leaseNews({ state, route, each, detail }) {
  const found = matching(detail.leases, route.q, one => `${one.what} ${one.id ?? ""} ${one.reason}`);
  const { totals } = each;
  return [
    h("p", { class: "quiet" }, `Since the start: ${counted(totals.extended, "extension")}, ${counted(totals.lost, "lease")} lost, ${counted(totals.late, "late delete")}; the smallest margin of a delete was ${seconds(totals.smallest_margin)}.`),
    found.length
      ? table("news", ["at", "what", "messages", "why"], [...found].reverse().slice(0, MOST_ROWS).map((one, at) =>
          h("tr", { key: `${one.at} ${one.what} ${one.id ?? ""} ${found.length - at}`, "data-row": true, tabindex: -1 },
            cell("at", `${clock(one.at)}`, h("small", {}, ago(one.at, state.now))),
            cell("what", h("span", { class: one.what === "lost" ? "bad" : one.what === "failed" ? "warn" : "" }, (NEWS[one.what] || ["·", one.what]).join(" "))),
            cell("messages", one.id ? h("code", {}, one.id) : count(one.count)),
            h("td", { "data-label": "why", class: "text" }, one.reason))))
      : none(route.q, "No lease was extended or lost yet.", "Leases are extended at half their time; quick handlers need none."),
  ];
}

const SOURCES = { flag: "command line", environment: "environment", file: "file", code: "code", default: "default" };

export function options({ route, detail }) {
  const set = each => each.source !== "default";
  const found = matching(detail.options, route.q, each => `${each.name} ${each.value} ${each.source} ${each.text}`).sort((one, other) => set(other) - set(one));
  if (!found.length) return none(route.q, "No options.");
  return table("options", ["option", "value", "from", "default", "what it does"], found.map(each =>
    h("tr", { key: each.name, "data-row": true, tabindex: -1, class: set(each) ? "set" : "" },
      cell("option", h("code", {}, each.name)),
      cell("value", set(each) ? h("b", {}, name(each.value)) : name(each.value || "unset"), each.unit && each.value ? h("small", {}, ` ${each.unit}`) : null),
      cell("from", SOURCES[each.source] || each.source, each.place ? h("small", {}, h("code", {}, name(each.place))) : null),
      cell("default", set(each) ? name(each.default) : ""),
      h("td", { "data-label": "what it does", class: "text" }, each.text.replaceAll("`", "")))));
}

// What these figures say by themselves. `leasekeeper doctor` also reads the queue's attributes and the permissions.
function findings(each, detail) {
  const { totals, backlog } = each;
  const run = (totals.done || 0) + (totals.failed || 0);
  const found = [];
  const add = (tone, what, todo, command) => found.push({ tone, what, todo, command });
  if (each.state === "UNHEALTHY") add("bad", each.reason || "SQS refuses calls.", "The doctor names the permission or the attribute that is missing.", `leasekeeper doctor ${quoted(each.queue)} --policy`);
  if (totals.lost) add("warn", `${counted(totals.lost, "lease")} ended while the message was held: it may have run twice.`, "Raise visibility_timeout, or see what kept the process from its CPU.", `leasekeeper doctor ${quoted(each.queue)}`);
  if (totals.late) add("warn", `${counted(totals.late, "delete")} came after the lease had ended.`, "Raise visibility_timeout.");
  if (totals.smallest_margin !== null && totals.smallest_margin < 3) add("warn", `A delete was confirmed only ${seconds(totals.smallest_margin)} before its lease ended.`, "Raise visibility_timeout.");
  if (backlog?.dead_letters) add("warn", `${counted(backlog.dead_letters, "message is", "messages are")} in the dead-letter queue.`, "Look at the causes, mend them, then redrive.", `leasekeeper peek ${quoted(each.queue)} --dead-letters`);
  if (backlog && backlog.trend > 0.05 && backlog.seconds > 60 && each.running >= each.concurrency * 0.95) add("warn", "The backlog grows and all handlers are busy.", "Raise concurrency while handlers wait for something else; otherwise add processes.", "leasekeeper scale advise");
  if (run > 100 && totals.failed / run > 0.05) add("warn", `${rate((100 * totals.failed) / run)} % of all runs failed.`, "See Failures for the exceptions and places.");
  if (each.calls_per_message > 1.5 && each.rate_out > 20) add("warn", `${each.calls_per_message.toFixed(1)} calls a message at ${rate(each.rate_out)} per second is much.`, "longest_pause=0.05 adds up to 50 ms and halves the receives.");
  return found;
}

const quoted = text => (/^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function doctor(view) {
  const { each, detail, process, route, ui, state } = view;
  const found = findings(each, detail);
  const of = `${process.key} ${route.consumer}`;
  const seen = ui.doctor?.of === of ? ui.doctor : null;
  return [
    h("h3", {}, "From the figures of this process"),
    found.length
      ? h("ul", { class: "findings" }, found.map(one => h("li", { key: one.what }, h("p", { class: one.tone }, h("span", { class: one.tone }, one.what)), h("p", {}, one.todo), one.command ? copyable(one.command) : null)))
      : empty("Nothing is wrong as far as these figures go."),
    h("h3", {}, "From the queue"),
    h("div", { class: "dead-head" },
      h("p", { class: "quiet" }, "The doctor reads the credentials and the queue's attributes, and tries the permissions. On the command line: ", copyable(`leasekeeper doctor ${quoted(each.queue)}`)),
      process.read_only ? null : h("button", { type: "button", onclick: () => view.ask({ doctor: true }) }, seen ? "Run the doctor again…" : "Run the doctor…")),
    ui.asking?.doctor
      ? confirm(view, {
          title: ["Run the doctor?"],
          says: ["It asks SQS for the queue's attributes and those of its dead-letter queue, and tries the permissions with receipts that do not exist: about ten calls. Nothing is received, and nothing is changed."],
          label: "Run", path: "api/doctor", body: { process: process.key, consumer: route.consumer }, done: "",
          onDone: answer => view.set({ doctor: { of, at: state.now, said: answer.said, findings: answer.findings } }),
        })
      : null,
    seen
      ? [h("p", { class: "quiet" }, `${seen.said}, as of ${ago(seen.at, state.now)}.`),
         h("ul", { class: "findings" },
           seen.findings.filter(one => one.level !== "ok").sort((one, other) => one.level.localeCompare(other.level)).map(one =>
             h("li", { key: `${one.topic} ${one.message}` }, h("p", { class: TONES[one.level] }, h("span", { class: TONES[one.level] }, `${one.level}: ${one.topic}`)), h("p", {}, h("bdi", {}, one.message)), one.commands.map(each => copyable(each)))),
           h("li", { key: "ok" }, seen.findings.filter(one => one.level === "ok").map(one => h("p", { key: one.topic }, h("b", {}, `✓ ${one.topic} `), h("bdi", {}, one.message)))))]
      : null,
  ];
}

const TONES = { fail: "bad", warn: "warn" };
