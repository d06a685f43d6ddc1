// Parts that both pages are made of: state pills, names, figures, sparklines, bars, buttons that copy, empty states.

import { h } from "./dom.js";
import { rate } from "./text.js";

const URGENCY = ["UNHEALTHY", "UNREACHABLE", "DRAINING", "STARTING", "STOPPED", "QUIET", "PAUSED", "RUNNING"];
const SIGNS = { RUNNING: "●", PAUSED: "‖", QUIET: "‖", DRAINING: "▼", STARTING: "○", STOPPED: "□", UNHEALTHY: "▲", UNREACHABLE: "✕" };

export const urgent = states => URGENCY.find(each => states.includes(each)) || "RUNNING";

export function pill(state) {
  return h("span", { class: `pill ${state.toLowerCase()}`, "data-about": `state_${state.toLowerCase()}`, tabindex: 0 },
    h("i", { "aria-hidden": "true" }, SIGNS[state] || "·"), state);
}

// A name that somebody else chose: on one line, in its own direction, in full on hover.
export function name(text, props = {}) {
  return h("bdi", { class: "name", title: text.length > 24 ? text : undefined, ...props }, text);
}

// What a process is called: as its supervisor does in the log, with what tells it from those of other supervisors.
export const called = ({ key, number }) => (number ? `process ${number} (${key})` : key);

// A figure with its label, which explains itself.
export function figure(label, about, value, { unit = "", note = "", tone = "" } = {}) {
  return h("div", { class: `figure ${tone}`, "data-about": about, tabindex: 0, key: label },
    h("span", { class: "label" }, label),
    h("span", { class: "value" }, value, unit && h("small", {}, ` ${unit}`)),
    h("span", { class: "note" }, note || " "));
}

function points(values, width, height, most) {
  const step = width / (values.length - 1 || 1);
  return values.map((each, at) => `${(at * step).toFixed(1)},${(height - 1 - (each / most) * (height - 2)).toFixed(1)}`).join(" ");
}

export function sparkline(came, went, { width = 120, height = 28, label = true } = {}) {
  const most = Math.max(...came, ...went, 0.1);
  const last = list => rate(list[list.length - 1] ?? 0);
  return h("svg", {
    class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
    "aria-label": label ? `last 60 seconds, now ${last(came)} in and ${last(went)} out per second, at most ${rate(most)}` : undefined,
  },
    h("polyline", { class: "area", points: `0,${height} ${points(came, width, height, most)} ${width},${height}` }),
    h("polyline", { class: "line", points: points(went, width, height, most) }));
}

export function meter(value, most, label) {
  const share = most ? Math.min(1, value / most) : 0;
  return h("span", { class: `meter${share >= 0.995 ? " full" : ""}`, role: "img", "aria-label": label, vars: { "--share": share.toFixed(3) } }, h("i"));
}

export function copyable(text, shown = text) {
  return h("button", { class: "copy", type: "button", title: `copy: ${text}`, onclick: event => copy(event.currentTarget, text) }, h("code", {}, shown), h("span", { class: "did", "aria-live": "polite" }, "copy"));
}

// A sentence; what stands in backticks is a command to copy.
export const sentence = text => text.split("`").map((part, at) => (at % 2 ? copyable(part) : h("bdi", {}, part)));

async function copy(button, text) {
  const did = button.querySelector(".did");
  try {
    await navigator.clipboard.writeText(text);
    did.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(button.querySelector("code"));
    did.textContent = "press Ctrl-C";
  }
  setTimeout(() => (did.textContent = "copy"), 1500);
}

export function empty(title, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "title" }, title), ...more.map(each => h("p", {}, each)));
}

export function stylesheet(href) {
  if (document.querySelector(`link[href="${href}"]`)) return null;
  return new Promise((onload, onerror) => document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload, onerror })));
}

const PATIENCE = 15_000; // milliseconds after which a part that does not come counts as one that cannot be loaded

// A part of the page that is loaded when it is first shown: draws with it, or says that it comes, and redraws then.
export function later(load, waiting = empty("Loading…")) {
  let loaded = null;
  let failed = false;
  let asked = false;
  return (draw, redraw) => {
    if (loaded) return draw(loaded);
    const give = () => ((failed = !loaded), redraw());
    if (!asked) {
      load().then(found => (loaded = found)).then(redraw, give);
      setTimeout(give, PATIENCE);
    }
    asked = true;
    return failed ? empty("This part of the page could not be loaded.", h("button", { type: "button", onclick: () => location.reload() }, "Load the page again")) : waiting;
  };
}
