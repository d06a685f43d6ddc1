// What stands in place of a consumer that is not there, or that its process does not show now.

import { h } from "./dom.js";
import { called, empty, name, sentence } from "./parts.js";

export function absent({ route, link }, asked, holders) {
  const others = holders.map(one => link.to({ ...route, process: one.key }, h("span", { class: "chip", key: one.key }, name(called(one)))));
  return asked?.state === "UNREACHABLE"
    ? empty(`The consumer of “${route.consumer}” is not shown: ${called(asked)} does not answer.`, sentence(asked.reason), [others, " ", link.to({}, "All consumers")])
    : empty(`No consumer of “${route.consumer}” here.`, "It may have ended, or the link is of another process.", [others, " ", link.to({}, "All consumers")]);
}
