// The tab of the throttler: limits, pollers and pauses as steps on one time axis, and each change with its reason.

import { h } from "./dom.js";
import { MOST_ROWS, cell, table } from "./list.js";
import { empty } from "./parts.js";
import { clock, count, counted } from "./text.js";

const WHAT = { limit: "most in hand", pollers: "pollers", prefetch: "prefetch", state: "state" };

export function tab({ state, each, detail }) {
  const { decisions } = detail;
  return [
    h("p", { class: "quiet" }, `Now at most ${counted(each.limit ?? 0, "message")} in hand, of which ${count(each.prefetch ?? 0)} may wait, and ${counted(each.pollers.length, "poller")}. The throttler holds few messages when there is little to do, and enough that handlers never wait.`),
    decisions.length ? steps(decisions, each, state.now) : null,
    decisions.length
      ? table("decisions", ["at", "what", "from", "to", "why"], [...decisions].reverse().slice(0, MOST_ROWS).map((one, at) =>
          h("tr", { key: `${one.at} ${one.what} ${decisions.length - at}`, "data-row": true, tabindex: -1 },
            cell("at", clock(one.at)), cell("what", WHAT[one.what] || one.what), cell("from", String(one.from)), cell("to", h("b", {}, String(one.to))), h("td", { "data-label": "why", class: "text" }, one.reason))))
      : empty("No change since this surface began to look.", "The throttler changes its limits when the load changes."),
  ];
}

const WIDTH = 1120;
const LEFT = 40;
const PANELS = [
  { label: "messages", top: 24, height: 96, lines: ["limit", "prefetch"] },
  { label: "pollers", top: 152, height: 48, lines: ["pollers"] },
];
const NAMES = { limit: "most in hand", prefetch: "may wait", pollers: "pollers" };
const STOPPED = new Set(["PAUSED", "QUIET"]);

function steps(decisions, each, now) {
  const from = Math.min(decisions[0].at, now - 60);
  const x = at => LEFT + ((at - from) / (now - from)) * (WIDTH - LEFT - 8);
  const current = { limit: each.limit, prefetch: each.prefetch, pollers: each.pollers.length };
  return h("div", { class: "chart", tabindex: 0 },
    h("svg", { viewBox: `0 0 ${WIDTH} 232`, role: "img", "aria-label": "limits of the throttler over time; the table beneath has the same changes" },
      pauses(decisions, now).map(([begin, end]) => h("g", {}, h("rect", { class: "pause", x: x(begin), y: 24, width: Math.max(2, x(end) - x(begin)), height: 176 }), h("text", { x: x(begin) + 4, y: 196 }, "‖ paused"))),
      PANELS.map(panel => drawn(panel, decisions, current, from, now, x)),
      [0, 1, 2, 3, 4].map(at => h("text", { x: LEFT + (at / 4) * (WIDTH - LEFT - 8), y: 224, "text-anchor": at === 4 ? "end" : at ? "middle" : "start" }, clock(from + ((now - from) * at) / 4)))));
}

function pauses(decisions, now) {
  const found = [];
  let begin = null;
  for (const each of decisions.filter(one => one.what === "state")) {
    if (STOPPED.has(each.to)) begin ??= each.at;
    else if (begin !== null) {
      found.push([begin, each.at]);
      begin = null;
    }
  }
  return begin === null ? found : [...found, [begin, now]];
}

function drawn({ label, top, height, lines }, decisions, current, from, now, x) {
  const series = lines.map(line => [line, valuesOf(line, decisions, current[line] ?? 0, from, now)]);
  const most = Math.max(1, ...series.flatMap(([, values]) => values.map(([, value]) => value)));
  const y = value => top + height - (value / most) * height;
  return h("g", {},
    h("line", { class: "axis", x1: LEFT, x2: WIDTH - 8, y1: top + height, y2: top + height }),
    h("text", { x: 0, y: top - 8 }, label),
    h("text", { x: LEFT - 8, y: top + 8, "text-anchor": "end" }, count(most)), h("text", { x: LEFT - 8, y: top + height, "text-anchor": "end" }, "0"),
    series.map(([line, values]) => h("g", { class: line },
      h("path", { class: "step", d: values.map(([at, value], index) => (index ? `H${x(at).toFixed(1)}V${y(value).toFixed(1)}` : `M${x(at).toFixed(1)} ${y(value).toFixed(1)}`)).join("") }),
      h("text", { x: WIDTH - 8, y: y(values[values.length - 1][1]) - 4, "text-anchor": "end" }, NAMES[line]))));
}

function valuesOf(line, decisions, current, from, now) {
  const own = decisions.filter(each => each.what === line);
  const first = own.length ? Number(own[0].from) || 0 : current;
  return [[from, first], ...own.map(each => [each.at, Number(each.to) || 0]), [now, current]];
}
