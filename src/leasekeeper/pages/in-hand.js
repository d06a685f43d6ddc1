// The tab of what is in hand: the oldest first, sorted and filtered.

import { h } from "./dom.js";
import { MOST_ROWS, cell, matching, none, table } from "./list.js";
import { name } from "./parts.js";
import { ENDED, count, counted, seconds } from "./text.js";

const HEADS = [
  ["message", 0], ["state", ([, row]) => row[0]], ["attempt", ([, row]) => -row[4]], ["in hand", ([, row]) => row[1]],
  ["runs for", ([, row]) => (ENDED.has(row[0]) ? null : row[2]) ?? Infinity], ["lease left", ([, row]) => row[3]], ["group", ([, row]) => row[5] ?? ""],
];

export function tab({ state, route, link, detail, leases, each }) {
  const now = state.now;
  const lease = each.visibility_timeout || 30;
  const sort = HEADS.find(([label]) => label === route.sort) || HEADS[3];
  const key = sort[1] || (([id]) => id);
  const all = Object.entries(detail.in_hand);
  const found = matching(all, route.q, ([id, row]) => `${id} ${row[0]} ${row[5] ?? ""}`);
  if (!found.length) return none(route.q, "Nothing is in hand.", each.state === "PAUSED" ? "The consumer is paused." : each.reason || "The pollers wait for messages.");
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
          cell("runs for", ENDED.has(what) ? "ended" : started ? seconds(Math.max(0, now - started)) : "–"),
          h("td", { "data-label": "lease left", class: left < 0.08 * lease ? "bad" : left < 0.2 * lease ? "warn" : "" }, left > 0 ? seconds(left) : "ended"),
          groups ? cell("group", group ? name(group) : "–") : null);
      })),
  ];
}
