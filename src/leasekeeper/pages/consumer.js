// One consumer of one process: its figures, the flow, and the tabs beneath it.

import { actions } from "./actions.js";
import { deadLetters } from "./dead.js";
import { h } from "./dom.js";
import { flow } from "./flow.js";
import { headline } from "./overview.js";
import { empty, name, pill } from "./parts.js";
import { doctor, failures, inHand, leaseNews, options, throttler } from "./tabs.js";
import { count, seconds } from "./text.js";

export const TABS = [
  ["in-hand", "In hand", (each, detail) => detail?.in_hand_total],
  ["failures", "Failures", (_, detail) => detail?.failures.length || null],
  ["dead-letters", "Dead letters", each => each.backlog?.dead_letters],
  ["throttler", "Throttler"],
  ["leases", "Leases"],
  ["options", "Options"],
  ["doctor", "Doctor"],
];
const VIEWS = { "in-hand": inHand, failures, "dead-letters": deadLetters, throttler, leases: leaseNews, options, doctor };
const FILTERED = new Set(["in-hand", "failures", "leases", "options"]);

export function consumerPage(view) {
  const { state, route, link } = view;
  const holders = Object.values(state.processes).filter(each => route.consumer in each.consumers);
  const process = holders.find(each => each.key === route.process) || holders[0];
  if (!process) {
    return empty(`No consumer of “${route.consumer}” here.`, "It may have ended, or the link is of another process.", link.to({}, "All consumers"));
  }
  const each = process.consumers[route.consumer];
  const detail = each.detail;
  const tab = VIEWS[route.tab] ? route.tab : TABS[0][0];
  return [
    h("nav", { class: "crumbs", "aria-label": "where this is" }, link.to({}, "All consumers"), h("span", { "aria-hidden": "true" }, "/"), name(route.consumer),
      holders.length > 1 ? h("span", { class: "holders" }, holders.map(one => link.to({ ...route, process: one.key }, h("span", { class: `chip${one === process ? " on" : ""}`, key: one.key }, name(one.key))))) : null),
    h("div", { class: "head" },
      h("div", {}, h("h1", {}, name(each.queue)), h("p", { class: "quiet" }, name(each.handler), detail?.where ? h("code", {}, ` ${detail.where}`) : null, `, up ${seconds(Math.floor(each.seconds))}`, each.fifo ? ", FIFO" : "")),
      pill(each.state),
      h("span", { class: "gap" }),
      actions(view, process, each)),
    each.reason ? h("p", { class: `reason ${each.state.toLowerCase()}`, role: "status" }, h("bdi", {}, each.reason)) : null,
    headline([each], state.now),
    flow(each, detail, state.now, view.leases),
    h("nav", { class: "tabs", role: "tablist", "aria-label": "more of this consumer" },
      TABS.map(([key, label, number]) => {
        const much = number?.(each, detail);
        return h("a", {
          key, role: "tab", "aria-selected": String(key === tab), id: `tab-${key}`, href: link.address({ ...route, tab: key, q: "", sort: "" }),
          onclick: event => { event.preventDefault(); link.go({ ...route, tab: key, q: "", sort: "" }, true); },
        }, label, much === undefined || much === null ? null : h("small", {}, ` ${count(much)}`));
      })),
    h("div", { class: "tab", role: "tabpanel", "aria-labelledby": `tab-${tab}`, key: tab },
      FILTERED.has(tab) ? h("div", { class: "tools" }, h("input", { type: "search", id: "filter", placeholder: "Filter  /", "aria-label": "filter", value: route.q, oninput: event => link.filter(event.target.value) })) : null,
      detail ? VIEWS[tab]({ ...view, process, each, detail }) : empty("Loading…")),
  ];
}
