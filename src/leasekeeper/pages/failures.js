// The tab of failures, grouped by exception and place.

import { h } from "./dom.js";
import { matching, none } from "./list.js";
import { copyable, name } from "./parts.js";
import { ago, count, counted } from "./text.js";

export function tab({ state, route, detail }) {
  const found = matching(detail.failures, route.q, each => `${each.type} ${each.where} ${each.message} ${each.ids.join(" ")}`);
  if (!found.length) return none(route.q, "No handler has failed since this surface began to look.");
  return h("div", { class: "cards hold", hold: true }, found.map(each =>
    h("details", { class: "card", key: `${each.type} ${each.where}` },
      h("summary", { "data-row": true },
        h("span", { class: "what" }, h("b", {}, name(each.type)), h("code", {}, name(each.where))),
        h("span", { class: "figures" }, h("b", {}, count(each.count)), ` ${each.count === 1 ? "time" : "times"}`, h("small", {}, `first ${ago(each.first, state.now)}, last ${ago(each.last, state.now)}`))),
      h("p", {}, h("bdi", {}, each.message || "(no text)")),
      h("pre", { tabindex: 0 }, each.traceback || "(no traceback)"),
      h("div", { class: "ids" }, h("span", { class: "quiet" }, `${counted(Math.min(10, each.ids.length), "newest message")}: `), each.ids.slice(0, 10).map((id, at) => h("span", { key: id }, copyable(id), each.attempts?.[at] > 1 && h("small", {}, ` attempt ${each.attempts[at]}`)))))));
}
