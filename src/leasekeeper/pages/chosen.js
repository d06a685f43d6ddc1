// The message whose cell was chosen, and which one is at a place.

import { h } from "./dom.js";
import { copyable, name } from "./parts.js";
import { ENDED, ago, seconds } from "./text.js";

export function chosen(leases, detail) {
  const row = detail?.in_hand[leases.chosen];
  const close = h("button", { type: "button", class: "key", "aria-label": "close", onclick: () => leases.choose(null) }, "✕");
  if (!row) return h("div", { class: "chosen" }, h("code", {}, leases.chosen), h("span", { class: "quiet" }, "is no longer in hand"), close);
  const [state, received, started, end, attempt, group] = row;
  const now = leases.now();
  return h("div", { class: "chosen", role: "status" },
    copyable(leases.chosen),
    h("span", {}, h("b", {}, state.replace("_", " ")), `, attempt ${attempt}`),
    h("span", {}, `received ${ago(received, now)}`, ENDED.has(state) ? ", its handler has ended" : started ? `, runs for ${seconds(Math.max(0, now - started))}` : ", not started"),
    h("span", {}, end > now ? `lease ends in ${seconds(end - now)}` : "lease has ended"),
    group ? h("span", {}, "group ", name(group)) : null,
    detail.where ? h("code", {}, detail.where) : null,
    close);
}

// The message whose cell is at that place; null for none.
export function idAt(leases, x, y) {
  if (leases.heat) return null;
  for (const [id, cell] of leases.cells) {
    const place = leases.fifo ? leases.spots.get(id) : leases.spot(cell.slot);
    if (place && !cell.gone && x >= place[0] && x < place[0] + leases.size && y >= place[1] && y < place[1] + leases.size) return id;
  }
  return null;
}
