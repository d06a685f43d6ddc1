// The tab of the doctor: what the figures say by themselves, and what it finds at the queue when it is asked.

import { confirm } from "./actions.js";
import { h } from "./dom.js";
import { copyable, empty } from "./parts.js";
import { ago, counted, rate, seconds } from "./text.js";

// What these figures say by themselves. `leasekeeper doctor` also reads the queue's attributes and the permissions.
function findings(each, detail) {
  const { totals, backlog } = each;
  const run = (totals.done || 0) + (totals.failed || 0);
  const found = [];
  const add = (tone, what, todo, command) => found.push({ tone, what, todo, command });
  if (each.state === "UNHEALTHY") add("bad", each.reason || "SQS refuses calls.", "The doctor names the permission or the attribute that is missing.", `leasekeeper doctor ${quoted(each.queue)} --policy`);
  if (each.blocked) add("bad", `Blocked: ${each.blocked}.`, "No other handler on it runs meanwhile; leases are kept. Make that handler a def, or call what blocks with asyncio.to_thread.");
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

export function tab(view) {
  const { each, detail, process, route, ui, state } = view;
  const found = findings(each, detail);
  const of = `${process.key} ${route.consumer}`;
  const seen = ui.doctor?.of === of ? ui.doctor : null;
  return [
    h("h2", {}, "From the figures of this process"),
    found.length
      ? h("ul", { class: "findings" }, found.map(one => h("li", { key: one.what }, h("p", { class: one.tone }, h("span", { class: one.tone }, one.what.replaceAll("`", ""))), h("p", {}, one.todo), one.command ? copyable(one.command) : null)))
      : empty("Nothing is wrong as far as these figures go."),
    h("h2", {}, "From the queue"),
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
