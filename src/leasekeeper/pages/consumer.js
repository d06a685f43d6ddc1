// One consumer of one process: its figures, the flow, and the tabs beneath it, each of which is loaded when it is opened.

import { h } from "./dom.js";
import { Leases, flow } from "./flow.js";
import { headline } from "./overview.js";
import { called, empty, later, name, pill, sentence, stylesheet } from "./parts.js";
import { count, seconds } from "./text.js";

let styles = null;
const tab = load => later(async () => {
  await (styles ||= stylesheet("pages/tabs.css"));
  return load();
});

// Each tab: its title, its module, and the number beside the title.
const TABS = {
  "in-hand": ["In hand", later(() => import("./in-hand.js")), (_, detail) => detail?.in_hand_total],
  failures: ["Failures", tab(() => import("./failures.js")), (_, detail) => detail?.failures.length || null],
  "dead-letters": ["Dead letters", tab(() => import("./dead-letters.js")), each => each.backlog?.dead_letters],
  throttler: ["Throttler", tab(() => import("./throttler.js"))],
  leases: ["Leases", tab(() => import("./leases.js"))],
  options: ["Options", tab(() => import("./options.js"))],
  doctor: ["Doctor", tab(() => import("./doctor.js"))],
};
const FILTERED = new Set(["in-hand", "failures", "leases", "options"]);
const RUNS = ["RUNNING", "UNHEALTHY"];
const ACTIONS = {
  pause: { label: "Pause", when: RUNS },
  resume: { label: "Resume", when: ["PAUSED"] },
  concurrency: { label: "Concurrency", when: [...RUNS, "PAUSED"] },
  quiet: { label: "Quiet", when: [...RUNS, "PAUSED"] },
  stop: { label: "Stop", danger: true, when: [...RUNS, "PAUSED", "QUIET"] },
};
const absences = later(() => import("./absent.js"));
const dialogs = later(() => import("./actions.js"), null);
let redraw = () => {};
export const leases = new Leases(() => redraw());

function actions(view, process, each) {
  const { ui } = view;
  if (process.read_only) return h("span", { class: "quiet" }, "Read-only: start the process with --admin-token to act here.");
  return h("div", { class: "actions" },
    Object.entries(ACTIONS).filter(([, { when }]) => when.includes(each.state)).map(([key, { label, danger }]) =>
      h("button", { key, type: "button", class: danger ? "danger" : "", onclick: () => view.ask({ action: key, value: String(each.concurrency) }) }, `${label}…`)),
    ui.said ? h("span", { class: `said ${ui.failed ? "bad" : ""}`, role: "status" }, ui.said) : null,
    ui.asking?.action ? dialogs(({ dialog }) => dialog(view, process, each, ACTIONS[ui.asking.action]), view.redraw) : null);
}

export function consumerPage(view) {
  const { state, route, link } = view;
  redraw = view.redraw;
  const holders = Object.values(state.processes).filter(each => route.consumer in each.consumers);
  // One that is asked for and does not answer is not replaced by another: only its own detail is asked for.
  const asked = state.processes[route.process];
  const process = holders.find(each => each.key === route.process) || (asked ? null : holders[0]);
  if (!process) {
    return absences(({ absent }) => absent(view, asked, holders), redraw);
  }
  const each = process.consumers[route.consumer];
  const detail = each.detail;
  const open = TABS[route.tab] ? route.tab : "in-hand";
  return [
    h("nav", { class: "crumbs", "aria-label": "where this is" }, link.to({}, "All consumers"), h("span", { "aria-hidden": "true" }, "/"), name(route.consumer),
      holders.length > 1 ? h("span", { class: "holders" }, holders.map(one => link.to({ ...route, process: one.key }, h("span", { class: `chip${one === process ? " on" : ""}`, key: one.key }, name(called(one)))))) : null),
    h("div", { class: "head" },
      h("div", {}, h("h1", {}, name(each.queue)), h("p", { class: "quiet" }, name(each.handler), detail?.where ? h("code", {}, ` ${detail.where}`) : null, `, ${each.state === "STOPPED" ? "ran for" : "up"} ${seconds(Math.floor(each.seconds))}`, each.fifo ? ", FIFO" : "")),
      pill(each.state),
      h("span", { class: "gap" }),
      actions(view, process, each)),
    each.reason && h("p", { class: `reason ${each.state.toLowerCase()}`, role: "status" }, sentence(each.reason)),
    headline([each], state.now),
    flow(each, detail, state.now, leases),
    h("nav", { class: "tabs", role: "tablist", "aria-label": "more of this consumer" },
      Object.entries(TABS).map(([key, [label, , number]]) => {
        const much = number?.(each, detail);
        return h("a", {
          key, role: "tab", "aria-selected": String(key === open), id: `tab-${key}`, href: link.address({ ...route, tab: key, q: "", sort: "" }),
          onclick: event => { event.preventDefault(); link.go({ ...route, tab: key, q: "", sort: "" }, true); },
        }, label, much != null && h("small", {}, ` ${count(much)}`));
      })),
    h("div", { class: "tab", role: "tabpanel", "aria-labelledby": `tab-${open}`, key: open },
      FILTERED.has(open) ? h("div", { class: "tools" }, h("input", { type: "search", id: "filter", placeholder: "Filter  /", "aria-label": "filter", value: route.q, oninput: event => link.filter(event.target.value) })) : null,
      detail ? TABS[open][1](shown => shown.tab({ ...view, leases, process, each, detail }), view.redraw) : empty("Loading…")),
  ];
}
