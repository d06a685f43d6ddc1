// The page of `leasekeeper local`: queues as cards, messages without receiving them, faults as switches, a log of calls.

import { h, render } from "./dom.js";
import { explain } from "./explain.js";
import { faults } from "./faults.js";
import { listen, showHelp } from "./keyboard.js";
import { copyable, empty, name } from "./parts.js";
import { Stream } from "./stream.js";
import { ago, clock, count, counted, seconds } from "./text.js";

const app = document.getElementById("app");
const SILENT = { stale: "The server does not answer.", stopped: "The server has ended." };
const STATES = { visible: "● visible", "in flight": "◐ in flight", delayed: "○ delayed" };
let state = null;
let held = null;
let rates = [];
let route = read();
const ui = { said: "", failed: false, asking: null, bodies: {}, open: null, draft: "", group: "", fault: "*" };

function read() {
  const given = new URLSearchParams(location.search);
  return { queue: given.get("queue") || "", q: given.get("q") || "" };
}

function address(wanted) {
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  return query.size ? `?${query}` : location.pathname;
}

function go(wanted) {
  history.pushState(null, "", address(wanted));
  arrive();
}

function arrive() {
  const before = route.queue;
  route = read();
  if (route.queue !== before) {
    Object.assign(ui, { said: "", bodies: {}, asking: null });
    if (state) state = { ...state, messages: undefined };
    stream.open(query());
  }
  draw(true);
}

function query() {
  return `stream${route.queue ? `?${new URLSearchParams({ queue: route.queue })}` : ""}`;
}

function filter(q) {
  route = { ...route, q };
  history.replaceState(null, "", address(route));
  draw(true);
}

function set(changes) {
  Object.assign(ui, changes);
  draw(true);
}

async function ask(method, path, body) {
  try {
    const answer = await fetch(path, { method, headers: { "content-type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(20_000) });
    const found = await answer.json();
    if (!answer.ok) set({ said: found.error, failed: true });
    return answer.ok ? found : null;
  } catch {
    set({ said: "The server does not answer.", failed: true });
    return null;
  }
}

async function act(action, more, said) {
  if (await ask("POST", "do", { action, queue: route.queue, ...more })) set({ said, failed: false, asking: null });
}

function bar(shown) {
  const { status } = stream;
  return [
    h("header", { class: "bar" },
      h("a", { href: location.pathname, onclick: event => { event.preventDefault(); go({}); } }, h(route.queue ? "span" : "h1", { class: "brand" }, h("i", { class: "mark" }), "SQS on this machine")),
      shown ? copyable(shown.endpoint) : null,
      shown ? h("span", { class: "quiet" }, `${counted(shown.queues.length, "queue")}, ${counted(Object.values(shown.calls).reduce((sum, each) => sum + each, 0), "call")}`, rates.length ? `, ${count(rates[rates.length - 1])} per s now` : "") : null,
      h("span", { class: "ends" }, h("button", { type: "button", class: `status ${held ? "held" : status.phase}`, "data-about": "stream", "aria-pressed": String(!!held), onclick: hold }, h("i", { "aria-hidden": "true" }), held ? `held at ${clock(held.now)}` : status.phase === "hidden" ? "paused while hidden" : status.phase),
      h("button", { type: "button", class: "key", "aria-label": "keyboard", title: "keyboard", onclick: showHelp }, "?"))),
    SILENT[status.phase] ? h("p", { class: "reason stale", role: "alert" }, SILENT[status.phase], status.since ? ` What you see is from ${clock(status.since)}.` : "", " The page tries again by itself. The queues are in the server's memory and end with it.") : null,
  ];
}

function card(each, now) {
  const dead = state.queues.find(one => one.name === each.dead_letter_queue);
  const line = (label, about, value, tone = "") => h("div", { class: tone, "data-about": about, tabindex: 0 }, h("dt", {}, label), h("dd", {}, value));
  return h("div", { key: each.name, class: `card queue-card${each.name === route.queue ? " on" : ""}`, "data-row": true, tabindex: -1, onclick: event => event.target.closest("a, [data-about]") || go({ queue: each.name }) },
    h("h2", {}, h("a", { href: address({ queue: each.name }), onclick: event => { event.preventDefault(); go({ queue: each.name }); } }, name(each.name))),
    h("p", { class: "quiet" }, each.fifo ? "FIFO" : "standard", each.dead_letters_of.length ? [", dead letters of ", name(each.dead_letters_of.join(", "))] : null),
    h("span", { class: "value" }, count(each.visible), h("small", {}, " visible")),
    h("dl", {},
      line("in flight", "in_flight", count(each.in_flight)),
      line("delayed", "delayed", count(each.delayed)),
      line("oldest", "oldest", each.oldest ? ago(each.oldest, now) : "–"),
      dead ? line("dead letters", "dead", count(dead.visible + dead.in_flight), dead.visible + dead.in_flight ? "warn" : "") : null));
}

function queueView(shown) {
  const each = shown.queues.find(one => one.name === route.queue);
  if (!each) return empty(`No queue “${route.queue}”.`, h("button", { type: "button", onclick: () => act("create", {}, "Created.") }, "Create it"));
  const messages = shown.messages && Object.values(shown.messages);
  const wanted = route.q.toLowerCase();
  const found = (messages || []).filter(one => `${one.id} ${one.state} ${one.group ?? ""}`.toLowerCase().includes(wanted));
  const total = each.visible + each.in_flight + each.delayed;
  return h("section", { class: "queue-view", key: each.name, "aria-label": each.name },
    h("div", { class: "head" }, h("h1", {}, name(each.name)), h("span", { class: "quiet" }, `visibility ${seconds(each.visibility)}, delay ${seconds(each.delay)}, kept for ${seconds(each.retention)}`, each.max_receives ? `, dead after ${counted(each.max_receives, "receive")}` : null), h("span", { class: "gap" }),
      h("div", { class: "actions" },
        each.dead_letters_of.length ? h("button", { type: "button", disabled: !each.visible, onclick: () => set({ asking: "redrive", said: "" }) }, "Redrive…") : null,
        h("button", { type: "button", class: "danger", disabled: !total, onclick: () => set({ asking: "purge", said: "" }) }, "Purge…"))),
    h("div", { class: "send" },
      h("textarea", { rows: 2, id: "draft", "aria-label": "message body", placeholder: 'A message, such as {"id": 1}', value: ui.draft, oninput: event => (ui.draft = event.target.value) }),
      each.fifo ? h("input", { placeholder: "group", "aria-label": "message group", value: ui.group, oninput: event => (ui.group = event.target.value) }) : null,
      h("button", { type: "button", class: "strong", id: "send", onclick: () => act("send", { body: ui.draft, group: ui.group }, "Sent.") }, "Send")),
    ui.said ? h("p", { class: ui.failed ? "bad" : "quiet", role: "status" }, ui.failed ? h("span", { class: "bad" }, ui.said) : ui.said) : null,
    ui.asking ? question(each, total) : null,
    h("div", { class: "tools" }, h("input", { type: "search", id: "filter", placeholder: "Filter messages  /", "aria-label": "filter messages", value: route.q, oninput: event => filter(event.target.value) }),
      h("span", { class: "quiet" }, "Listed without receiving them: no receive is counted.", found.length < total ? ` ${count(found.length)} of ${count(total)}.` : "")),
    !messages ? empty("Loading…") : !found.length ? (wanted ? empty(`Nothing matches “${route.q}”.`) : empty("The queue is empty.", "Send a message above, or from a terminal:", copyable(`leasekeeper send ${each.name} hello`))) : list(each, found, shown.now));
}

function list(each, messages, now) {
  const cell = (label, ...kids) => h("td", { "data-label": label }, ...kids);
  const heads = ["message", "state", "receives", "visible in", "sent", "bytes", ...(each.fifo ? ["group"] : []), "body"];
  return h("table", { class: "list messages hold", hold: true },
    h("thead", {}, h("tr", {}, heads.map(one => h("th", { scope: "col" }, one)))),
    messages.map(one =>
      h("tbody", { key: one.number },
        h("tr", { "data-row": true, tabindex: -1, onclick: event => event.target.closest("button, pre") || show(one) },
          cell("message", h("code", {}, one.id)),
          cell("state", h("span", { class: one.state === "in flight" ? "flying" : "" }, STATES[one.state] || one.state)),
          cell("receives", each.max_receives && one.receives >= each.max_receives ? h("span", { class: "warn" }, count(one.receives)) : count(one.receives)),
          cell("visible in", one.visible_at ? seconds(Math.max(0, one.visible_at - now)) : "now"),
          cell("sent", ago(one.sent, now)),
          cell("bytes", count(one.bytes)),
          each.fifo ? cell("group", name(one.group ?? "")) : null,
          cell("body", h("button", { type: "button", onclick: () => show(one) }, ui.bodies[one.number] ? "Hide" : "Show"))),
        ui.bodies[one.number] ? h("tr", { class: "body" }, h("td", { colspan: heads.length }, h("pre", { tabindex: 0 }, ui.bodies[one.number]))) : null)));
}

async function show(message) {
  const { [message.number]: shown, ...others } = ui.bodies;
  if (shown) return set({ bodies: others });
  const found = await ask("GET", `message?${new URLSearchParams({ queue: route.queue, number: message.number })}`);
  if (!found) return null;
  const attributes = Object.keys(found.attributes).length ? `\n\nattributes: ${JSON.stringify(found.attributes, null, 2)}` : "";
  return set({ bodies: { ...ui.bodies, [message.number]: `${pretty(found.body)}${attributes}` || "(empty)" } });
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

function question(each, total) {
  const [title, says, label, done] = {
    purge: ["Purge ", `${counted(total, "message is", "messages are")} deleted for good, also those in flight. SQS allows one purge in 60 seconds.`, "Purge", "Purged."],
    redrive: ["Redrive ", `${counted(each.visible, "visible message goes", "visible messages go")} back to ${each.dead_letters_of.join(", ")}, where ${each.visible === 1 ? "it runs" : "they run"} again.`, "Redrive", "Redriven."],
  }[ui.asking];
  return h("dialog", { class: "confirm", "aria-label": label, made: element => element.showModal(), onclose: () => set({ asking: null }) },
    h("h2", {}, title, name(each.name), "?"), h("p", {}, says),
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => set({ asking: null }) }, "Cancel"), h("button", { type: "button", id: "do", class: "danger strong", onclick: () => act(ui.asking, {}, done) }, label)));
}

function calls(shown) {
  const log = Object.values(shown.log).reverse();
  const totals = Object.entries(shown.calls).sort((one, other) => other[1] - one[1]);
  return h("section", { class: "side-box", "aria-label": "calls" },
    h("h2", {}, "Calls"),
    totals.length ? h("p", { class: "quiet" }, totals.slice(0, 6).map(([operation, much]) => `${operation} ${count(much)}`).join(" · ")) : null,
    h("p", { class: "quiet" }, "The list has the calls that were made while a page was open, the newest 200. The totals count all."),
    log.length
      ? h("div", { class: "log hold", hold: true, role: "log", tabindex: 0 }, log.map(each =>
          h("div", { key: each.number, class: each.error ? "failed" : "" },
            h("span", { class: "quiet" }, clock(each.at)), h("b", {}, each.operation), name(each.queue),
            h("span", { class: "quiet" }, (each.entries ?? null) === null ? "" : counted(each.entries, each.operation === "ReceiveMessage" ? "message" : "entry", each.operation === "ReceiveMessage" ? "messages" : "entries")),
            h("span", { class: "took" }, seconds(each.seconds)),
            each.error ? h("span", { class: "bad" }, `✕ ${each.error.replace("AWS.SimpleQueueService.", "")}`) : null)))
      : h("p", { class: "quiet" }, "None yet."));
}

function draw(force = false) {
  const shown = held || state;
  const { status } = stream;
  document.title = `${route.queue ? `${route.queue} · ` : ""}SQS on this machine`;
  document.body.className = status.phase;
  render(app, [
    bar(shown),
    h("main", { id: "main", class: "local" }, !shown
      ? empty(SILENT[status.phase] || "Connecting…")
      : [
          h("div", { class: "queues" },
            !shown.queues.length ? empty("No queues yet.", "Create one here, with --queue, or with any SQS client.") : shown.queues.map(each => card(each, shown.now)),
            h("div", { class: "card new" }, h("input", { id: "new", placeholder: "new queue", "aria-label": "name of a new queue", onkeydown: event => event.key === "Enter" && create(event.target) }), h("button", { type: "button", onclick: () => create(document.getElementById("new")) }, "Create"))),
          h("div", { class: "columns" },
            h("div", {}, route.queue ? queueView(shown) : [shown.queues.length ? empty("Choose a queue to see its messages.", "They are listed without receiving them.") : null, ui.said ? h("p", { class: ui.failed ? "bad" : "quiet", role: "status" }, ui.said) : null]),
            h("div", { class: "side" }, calls(shown), faults(shown, ui.fault, { choose: fault => set({ fault }), change: wanted => ask("PUT", "faults", wanted), clear: () => ask("DELETE", "faults") }))),
        ]),
  ], force);
}

function create(input) {
  const queue = input.value.trim();
  if (!queue) return;
  ask("POST", "do", { action: "create", queue }).then(done => {
    if (!done) return;
    input.value = "";
    go({ queue });
  });
}

function hold() {
  held = held ? null : state;
  draw(true);
}

function take(next) {
  const before = state;
  state = next;
  const total = one => Object.values(one.calls).reduce((sum, each) => sum + each, 0);
  if (before && next.now > before.now) rates = [...rates.slice(-59), Math.max(0, Math.round((total(next) - total(before)) / (next.now - before.now)))];
  if (!held) draw();
}

const stream = new Stream(query(), { onState: take, onStatus: () => draw() });
addEventListener("popstate", arrive);
listen({ hold, back: () => route.queue && go({}) });
draw();
stream.open();
explain();
