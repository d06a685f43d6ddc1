// The live page: what the URL asks for, the stream, the bar, the keyboard. The views are in overview.js and consumer.js.
// What a consumer needs is loaded when the first one is opened.

import { h, render } from "./dom.js";
import { explain } from "./explain.js";
import { listen, showHelp } from "./keyboard.js";
import { overview } from "./overview.js";
import { called, empty, later, name, pill, sentence, stylesheet, urgent } from "./parts.js";
import { Stream } from "./stream.js";
import { clock, counted, seconds } from "./text.js";

const app = document.getElementById("app");
let route = read();
let state = null;
let held = null;
const ui = { asking: null, said: "", failed: false, dead: null };
let consumer = null; // the module, once it is loaded
const consumerPage = later(async () => {
  [consumer] = await Promise.all([import("./consumer.js"), import("./flow.js"), stylesheet("pages/consumer.css")]);
  track();
  return consumer;
});

function read() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(["process", "consumer", "tab", "q", "sort"].map(each => [each, given.get(each) || ""]));
}

function address(wanted) {
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  return query.size ? `?${query}` : location.pathname;
}

const link = {
  // A link to a view; a plain click stays on the page, others do what links do.
  to: (wanted, ...kids) => h("a", {
    href: address(wanted),
    onclick: event => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      event.stopPropagation();
      link.go(wanted);
    },
  }, ...kids),
  address,
  go: (wanted, stay = false) => {
    history.pushState(null, "", address(wanted));
    arrive(stay);
  },
  change: changes => {
    route = { ...route, ...changes };
    history.replaceState(null, "", address(route));
    draw(true);
  },
  filter: q => link.change({ q }),
};

function arrive(stay = false) {
  const before = query();
  route = read();
  if (query() !== before) {
    held = null;
    Object.assign(ui, { asking: null, said: "", dead: null });
    consumer?.leases.reset();
    stream.open(`api/stream${query()}`);
  }
  draw(true);
  if (!stay) scrollTo(0, 0);
}

// What the views are given, and what they may do.
const redraw = () => draw(true);
const set = changes => {
  Object.assign(ui, changes);
  redraw();
};
const ask = asking => set({ asking, ...(asking?.value === undefined && asking ? { said: "", failed: false } : {}) });
const tell = (said, failed, close) => set({ said, failed, ...(close ? { asking: null } : {}) });
const view = () => ({ state: held || state, route, link, ui, ask, tell, set, redraw });

const query = () => (route.consumer ? address({ process: route.process, consumer: route.consumer }) : "");

function bar(shown, status) {
  const processes = Object.values(shown?.processes || {});
  const one = processes.length === 1 ? processes[0] : null;
  const worst = urgent(processes.map(each => each.state));
  const reasons = processes.filter(each => each.reason && each.state === worst);
  return [
    h("header", { class: "bar" },
      link.to({}, h("span", { class: "brand" }, h("i", { class: "mark" }), "Leasekeeper")),
      shown && h(route.consumer ? "span" : "h1", { class: "which" }, one ? name(called(one)) : counted(processes.length, "process", "processes")),
      shown && processes.length > 0 && pill(worst),
      !one && worst !== "RUNNING" && h("span", { class: "quiet" }, `${processes.filter(each => each.state === worst).length} of them`),
      one?.started > 0 && !["STOPPED", "UNREACHABLE"].includes(one.state) && h("span", { class: "quiet" }, `up ${seconds(Math.floor(shown.now - one.started))}`),
      shown && h("span", { class: "quiet version" }, shown.version),
      h("span", { class: "ends" }, h("button", { type: "button", class: `status ${held ? "held" : status.phase}`, "data-about": "stream", "aria-pressed": String(!!held), onclick: hold },
        h("i", { "aria-hidden": "true" }), held ? `held at ${clock(held.now)}` : status.phase === "hidden" ? "paused while hidden" : status.phase),
      h("button", { type: "button", class: "key", title: "keyboard", "aria-label": "keyboard and legend", onclick: showHelp }, "?"))),
    notice(status, processes),
    reasons.length && !route.consumer
      ? h("p", { class: `reason ${worst.toLowerCase()}`, role: "status" }, reasons.slice(0, 3).map(each => h("span", { key: each.key }, !one && h("b", {}, called(each), ": "), sentence(each.reason), each.since ? ` (since ${clock(each.since)})` : "")))
      : null,
  ];
}

const SILENT = { stale: "No answer from the process.", stopped: "The process has said that it stops." };

function notice({ phase, since }, processes) {
  const all = phase === "stopped" && processes.length > 1 && processes.every(each => each.state === "STOPPED");
  return SILENT[phase] && h("p", { class: "reason stale", role: "alert" },
    all ? "All processes have stopped." : SILENT[phase], since ? ` What you see is from ${clock(since)}.` : " There was none so far.", " The page tries again by itself.");
}

function draw(force = false) {
  const status = stream.status;
  const shown = held || state;
  const page = !shown
    ? status.phase === "connecting" ? empty("Connecting…") : empty("Nothing to show yet.", "The admin surface does not answer. Is the process running?")
    : route.consumer ? consumerPage(shown => shown.consumerPage(view()), redraw) : overview(shown, route, link, redraw);
  document.title = title(shown);
  document.body.className = status.phase;
  render(app, [bar(shown, status), h("main", { id: "main" }, page)], force);
}

function title(shown) {
  const processes = Object.values(shown?.processes || {});
  const worst = processes.length ? urgent(processes.map(each => each.state)) : "";
  return `${worst && worst !== "RUNNING" ? `${worst} · ` : ""}${route.consumer ? `${route.consumer} · ` : ""}Leasekeeper`;
}

function hold() {
  held = held ? null : state;
  draw(true);
}

// A link may name a consumer without a process: take the one that needs attention, or the first.
function settle() {
  if (!route.consumer || route.process in state.processes) return;
  const holders = Object.values(state.processes).filter(each => route.consumer in each.consumers);
  if (!holders.length) return;
  const worst = urgent(holders.map(each => each.consumers[route.consumer].state));
  const { key } = holders.find(each => each.consumers[route.consumer].state === worst);
  history.replaceState(null, "", address({ ...route, process: key }));
  arrive(true);
}

// Give the drawn leases the newest state.
function track() {
  const each = state?.processes[route.process]?.consumers[route.consumer];
  if (each?.detail) consumer?.leases.take(state, each, each.detail);
}

const stream = new Stream(`api/stream${query()}`, {
  onState: next => {
    // The files of another version do not fit those that are loaded.
    if (state && state.version !== next.version) return location.reload();
    state = next;
    if (held) return;
    settle();
    track();
    draw();
  },
  onStatus: () => draw(),
});
addEventListener("popstate", () => arrive());
listen({ hold, back: () => route.consumer && link.go({}) });
draw();
stream.open();
explain();
