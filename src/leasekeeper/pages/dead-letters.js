// Dead letters: their number is always there; their contents only after a question, and a body only one by one.

import { confirm, post, token } from "./actions.js";
import { h } from "./dom.js";
import { copyable, empty } from "./parts.js";
import { ago, count, counted } from "./text.js";

const LOOK = 10;

export function tab(view) {
  const { each, process, route, ui, state } = view;
  const much = each.backlog?.dead_letters;
  if (much == null) {
    return empty("No dead-letter queue is known.", "The queue has no redrive policy, or its dead-letter queue cannot be read. leasekeeper doctor prints the command that adds one.");
  }
  const seen = ui.dead?.of === `${process.key} ${route.consumer}` ? ui.dead : null;
  const question = { process: process.key, consumer: route.consumer };
  return [
    h("div", { class: "dead-head" },
      h("p", {}, h("b", {}, counted(much, "message")), ` in the dead-letter queue. This process has put ${count(each.totals.dead_lettered)} there since its start.`),
      much && process.read_only ? h("p", { class: "quiet" }, "Looking at them needs a token, which this process does not have. On the command line: ", copyable(`leasekeeper peek ${each.queue} --dead-letters`)) : null,
      much && !process.read_only
        ? h("div", { class: "buttons" },
            h("button", { type: "button", onclick: () => view.ask({ dead: "peek" }) }, `Look at up to ${LOOK}…`),
            h("button", { type: "button", onclick: () => view.ask({ dead: "redrive" }) }, "Redrive…"))
        : null),
    view.ui.asking?.dead ? dialog(view, question, much) : null,
    !much ? empty("No dead letters.") : seen ? list(view, seen) : null,
  ];
}

function dialog(view, question, much) {
  if (view.ui.asking.dead === "peek") {
    return confirm(view, {
      title: ["Look at dead letters?"],
      says: [`SQS shows messages only by receiving them. Up to ${LOOK} are received: each gets one receive more, and is hidden from others for some seconds.`, "Bodies are not shown unless you ask for one."],
      label: "Look", path: "api/dead-letters/peek", body: { ...question, count: LOOK }, done: "",
      onDone: answer => view.set({ dead: { of: `${question.process} ${question.consumer}`, at: view.state.now, messages: answer.messages || [], bodies: {} } }),
    });
  }
  return confirm(view, {
    title: ["Redrive dead letters?"],
    says: [`SQS moves all ${counted(much, "message")} back to the queue they came from. They run again, with new ids; what still fails comes back here.`],
    label: "Redrive", danger: true, path: "api/dead-letters/redrive", body: question, done: "Redrive: started.",
  });
}

function list(view, seen) {
  if (!seen.messages.length) return empty("None could be received just now.", "Others may hold them, or the number is out of date: SQS counts approximately.");
  const show = async id => {
    const answer = await post("api/dead-letters/peek", { process: view.process.key, consumer: view.route.consumer, id });
    view.set({ dead: { ...seen, bodies: { ...seen.bodies, [id]: answer.error || answer.body || "" } } });
  };
  return [
    h("p", { class: "quiet" }, `${counted(seen.messages.length, "message")}, as of ${ago(seen.at, view.state.now)}.`),
    h("div", { class: "cards" }, seen.messages.map(each =>
      h("div", { class: "card", key: each.id },
        h("div", { class: "summary" }, copyable(each.id), h("span", { class: "quiet" }, `sent ${ago(each.sent, view.state.now)}, ${counted(each.receives ?? 0, "receive")}`)),
        each.cause ? h("p", {}, h("bdi", {}, each.cause)) : null,
        seen.bodies[each.id] === undefined
          ? h("button", { type: "button", onclick: () => show(each.id) }, "Show the body")
          : h("pre", { tabindex: 0 }, seen.bodies[each.id])))),
  ];
}
