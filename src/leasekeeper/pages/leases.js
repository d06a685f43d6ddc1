// The tab of leases: extensions, losses and what failed, with reasons.

import { h } from "./dom.js";
import { MOST_ROWS, cell, matching, none, table } from "./list.js";
import { ago, clock, count, counted, seconds } from "./text.js";

const NEWS = { extended: ["+", "extended"], lost: ["✕", "lost"], failed: ["▲", "not extended"] };

export function tab({ state, route, each, detail }) {
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
