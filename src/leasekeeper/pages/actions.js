// What changes a consumer. Each action first says what it will do, to how many messages, and asks for the token.

import { h } from "./dom.js";
import { called, name, stylesheet } from "./parts.js";
import { count, counted } from "./text.js";

await stylesheet("pages/dialog.css");

const STORED = "leasekeeper-token";

export const token = {
  get: () => sessionStorage.getItem(STORED) || "",
  set: value => (value ? sessionStorage.setItem(STORED, value) : sessionStorage.removeItem(STORED)),
};

const held = each => counted(each.running + each.waiting + each.acking, "message");
const visible = each => (each.backlog ? `The ${counted(each.backlog.visible, "visible message")} in the queue wait for it or go to other processes.` : "");
const SAYS = {
  pause: each => [`It receives nothing until it is resumed.`, `The ${held(each)} in hand go on to their end, and their leases are kept. ${visible(each)}`],
  resume: each => [`It receives again, up to ${count(each.concurrency)} at once.`, each.backlog ? `${counted(each.backlog.visible, "message is", "messages are")} visible in the queue.` : ""],
  concurrency: (each, value) => [`${count(each.concurrency)} handlers may run at once now, and ${count(each.running)} do.`, Number(value) < each.running ? `With ${value}, ${count(each.running - Number(value))} of them end before a new one starts. None is interrupted.` : "None is interrupted."],
  quiet: each => [`It receives nothing more, for good: it cannot be resumed, and a stop has to follow.`, `The ${held(each)} in hand go on to their end. ${visible(each)}`],
  stop: each => [`It drains and ends. ${counted(each.running, "running handler gets", "running handlers get")} the time of drain_timeout, and ${counted(each.acking, "finished message is", "finished messages are")} deleted first.`, `${counted(each.waiting, "message has", "messages have")} not started and go back to the queue, with one receive more each, unless on_unstarted says otherwise. The process may end or start it again.`],
};

export function dialog(view, process, each, { label, danger }) {
  const { asking } = view.ui;
  const others = Object.values(view.state.processes).filter(one => one !== process && view.route.consumer in one.consumers).length;
  return confirm(view, {
    title: [label, " ", name(each.queue), others ? [" in ", name(called(process))] : null, "?"],
    says: [...SAYS[asking.action](each, asking.value), others ? `${counted(others, "other process goes", "other processes go")} on as before.` : ""],
    label,
    danger,
    more: asking.action === "concurrency" ? h("label", {}, "Handlers at once ", h("input", { type: "number", min: 1, max: 10_000, id: "value", value: asking.value, oninput: event => view.ask({ ...asking, value: event.target.value }) })) : null,
    path: "api/actions",
    body: { process: process.key, consumer: asking.key ?? view.route.consumer, action: asking.action, ...(asking.action === "concurrency" ? { value: Number(asking.value) } : {}) },
    done: `${label}: asked.`,
  });
}

// A dialog that says what will happen, and does it. Also used for dead letters.
export function confirm(view, { title, says, label, danger, more, path, body, done, onDone }) {
  const { ui } = view;
  const act = async () => {
    const given = document.getElementById("token")?.value;
    if (given) token.set(given);
    const answer = await post(path, body);
    if (answer.refused) token.set("");
    view.tell(answer.error || answer.said || done, !!answer.error, !answer.refused);
    if (!answer.error) onDone?.(answer);
  };
  return h("dialog", { class: "confirm", "aria-label": label, made: element => element.showModal(), onclose: () => view.ask(null) },
    h("h2", {}, title),
    says.filter(Boolean).map(each => h("p", {}, each)),
    more,
    token.get() ? null : h("label", { key: "token" }, "Token ", h("input", { type: "password", id: "token", autocomplete: "off", onkeydown: event => event.key === "Enter" && act() })),
    ui.failed && ui.said ? h("p", { class: "bad", role: "alert" }, h("span", { class: "bad" }, ui.said)) : null,
    h("div", { class: "buttons", key: "buttons" },
      h("button", { type: "button", onclick: () => view.ask(null) }, "Cancel"),
      h("button", { type: "button", class: danger ? "danger strong" : "strong", id: "do", onclick: act }, label)));
}

export async function post(path, body) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${token.get()}` }, body: JSON.stringify(body), signal: AbortSignal.timeout(60_000) });
    const read = await answer.json().catch(() => ({}));
    if (answer.ok) return read;
    return { error: read.said || read.error || `The answer was ${answer.status}.`, refused: answer.status === 401 };
  } catch {
    return { error: "The process does not answer." };
  }
}
