// The flow of a consumer, drawn: queue, pollers, waiting room, leases, acks, done. Stations are DOM; leases are a canvas.
// The canvas keeps each message in its cell for as long as it is in hand, and is drawn only while something moves.

import { CHECK, CROSS, GAP, HALT, MARK, box, outline, rounded, sign, step } from "./cells.js";
import { h } from "./dom.js";
import { later } from "./parts.js";
import { ENDED, ago, count, counted, rate, seconds, trend } from "./text.js";

const MOST_CELLS = 480; // above, the cells become a heat map
const RING = 1200; // milliseconds that the ring of an extension is seen
const FADE = 260;
const CALM = 4000; // milliseconds: when the cells have needed less room for so long, they get less

const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const hovers = matchMedia("(hover: hover)");
const MARKS = { waiting: "◌", full: "●", short: "◐", empty: "○", paused: "‖", failed: "✕" };
const MEANS = {
  waiting: "waiting for messages", full: "just answered with ten", short: "just answered with fewer than ten", empty: "just answered with none",
  paused: "in a pause", failed: "failed",
};

let groups = null; // the layout of a FIFO queue, once it is loaded
let compact = null; // the same
const legends = later(() => import("./legend.js"), h("div", { class: "legend" }));
const choices = later(() => import("./chosen.js"), null);
const speed = value => (value <= 0 ? 0 : value < 2 ? 1 : value < 20 ? 2 : value < 200 ? 3 : 4);
const link = value => h("div", { class: `link speed-${speed(value)}`, "aria-hidden": "true" }, h("i"));
const line = (label, value, props = {}) => h("div", props, h("dt", {}, label), h("dd", {}, value));

export function flow(each, detail, now, leases) {
  const way = trend(each.backlog?.trend);
  const { backlog } = each;
  return h("section", { class: "flow", "aria-label": "the flow of messages" },
    station("queue", "Queue", "queue", backlog ? count(backlog.visible) : "–", backlog ? "visible" : "SQS was not asked",
      backlog && h("dl", {}, line("in flight", count(backlog.in_flight)), line("delayed", count(backlog.delayed)),
        backlog.dead_letters != null && line("dead letters", count(backlog.dead_letters), { class: backlog.dead_letters ? "warn" : "" }),
        line("trend", way.sign && !backlog.outdated ? `${way.sign} ${way.word}` : "–"), line(backlog.outdated ? "out of date" : "asked", ago(backlog.asked, now)))),
    link(each.rate_in),
    station("pollers", "Pollers", "pollers", String(each.pollers.length), `${rate(each.rate_in)} per s`, pollers(each.pollers)),
    link(each.rate_in),
    station("room", "Waiting", "waiting", count(each.waiting), each.prefetch ? `of ${count(each.prefetch)} allowed` : "for a handler", room(each.waiting)),
    link(each.rate_out),
    h("div", { class: "station leases" },
      h("div", { class: "top" },
        h("h2", { "data-about": "leases", tabindex: 0 }, "Leases"),
        h("span", { class: "quiet" }, `${count(each.running)} of ${count(each.concurrency)} running`,
          each.lease_margin != null ? `, smallest lease left ${seconds(each.lease_margin)}` : "")),
      h("canvas", { class: "cells", role: "img", "aria-label": `${counted(detail?.in_hand_total ?? 0, "message")} in hand; the tab In hand lists them`, made: canvas => leases.attach(canvas) }),
      legends(({ legend }) => legend(leases), leases.onChoose),
      leases.chosen && choices(({ chosen }) => chosen(leases, detail), leases.onChoose)),
    link(each.rate_out),
    station("acks", "Acks", "acks", count(each.acking), "wait for their delete", acks(each.acking)),
    link(each.rate_out),
    station("done", "Done", "done", count(each.totals.acked), `${rate(each.rate_out)} per s`,
      h("dl", {}, line("failed", count(each.totals.failed)), line("dead letters", count(each.totals.dead_lettered)), line("lost leases", count(each.totals.lost), { class: each.totals.lost ? "warn" : "" }))));
}

function station(kind, label, about, value, note, ...more) {
  return h("div", { class: `station ${kind}` }, h("h2", { "data-about": about, tabindex: 0 }, label), h("span", { class: "value" }, value), h("span", { class: "note" }, note), ...more);
}

function pollers(list) {
  const counts = new Map();
  for (const each of list) counts.set(each, (counts.get(each) || 0) + 1);
  return [
    h("div", { class: "marks" }, list.slice(0, 40).map((each, at) => h("i", { key: at, class: `poller p-${each}`, title: MEANS[each] || each }, MARKS[each] || "·"))),
    h("p", { class: "note" }, [...counts].map(([each, much]) => `${much} ${each}`).join(", ")),
  ];
}

function room(waiting) {
  const shown = Math.min(waiting, 48);
  return h("div", { class: "dots", "aria-hidden": "true" }, Array.from({ length: shown }, () => h("i")), waiting > shown && h("span", { class: "note" }, `+ ${count(waiting - shown)}`));
}

function acks(acking) {
  const calls = Math.floor(acking / 10);
  const filled = acking % 10;
  return [
    h("div", { class: "batch", role: "img", "aria-label": `${filled} of ten in the next call` }, Array.from({ length: 10 }, (_, at) => h("i", { class: at < filled ? "on" : "" }))),
    h("p", { class: "note" }, `${filled} of 10`, calls ? `, and ${counted(calls, "full call")}` : ""),
  ];
}

export class Leases {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.reset();
    for (const each of [matchMedia("(prefers-color-scheme: dark)"), reduced]) each.addEventListener("change", () => { this.colors = null; this.wake(); });
    this.sized = new ResizeObserver(() => this.resize());
  }

  reset() {
    Object.assign(this, { cells: new Map(), slots: [], lease: 1, scale: 1, heat: false, lost: 0, chosen: null, offset: 0, height: 0, peak: 0, settled: 0, fifo: false, spots: new Map() });
  }

  now() {
    return Date.now() / 1000 + this.offset;
  }

  attach(canvas) {
    if (canvas === this.canvas) return;
    if (this.canvas) this.sized.unobserve(this.canvas);
    this.canvas = canvas;
    const at = ({ offsetX, offsetY }) => import("./chosen.js").then(({ idAt }) => idAt(this, offsetX, offsetY));
    canvas.onclick = async event => this.choose(await at(event));
    canvas.onpointermove = async event => (canvas.style.cursor = (await at(event)) ? "pointer" : "");
    this.sized.observe(canvas.parentElement);
    this.colors = null;
    this.resize();
  }

  choose(id) {
    this.chosen = id;
    this.wake();
    this.onChoose();
  }

  // A new state: known messages stay in their cells, new ones take free cells. Cells and counts change at one moment.
  take(state, each, detail) {
    const at = performance.now();
    this.offset = state.now - Date.now() / 1000;
    this.fifo = each.fifo;
    const rows = Object.entries(detail.in_hand);
    this.heat = rows.length > MOST_CELLS;
    this.rows = rows;
    this.lost = rows.filter(([, row]) => row[0] === "lease_lost" || row[3] <= state.now).length;
    this.lease = each.visibility_timeout || 30;
    this.scale = nice(Math.max(each.handler_p95 * 2, 0.1));
    this.concurrency = each.concurrency;
    if (this.heat) {
      this.cells.clear();
      this.slots = [];
    } else this.place(rows, at);
    this.resize();
  }

  place(rows, at) {
    const here = new Set();
    for (const [id, row] of rows) {
      here.add(id);
      const cell = this.cells.get(id);
      if (!cell) continue;
      if (row[3] > cell.row[3] + 0.5) cell.ring = at + Math.random() * 300;
      cell.row = row;
    }
    for (const [id, cell] of this.cells) if (!here.has(id) && !cell.gone) cell.gone = at;
    this.sweep(at);
    let free = 0;
    for (const [id, row] of rows) {
      if (this.cells.has(id)) continue;
      while (this.slots[free] !== undefined && !this.cells.get(this.slots[free])?.gone) free++;
      this.cells.delete(this.slots[free]);
      this.cells.set(id, { slot: free, row, born: at, ring: 0, gone: 0 });
      this.slots[free] = id;
    }
    this.trim();
  }

  // Removes the cells that have faded.
  sweep(at) {
    for (const [id, cell] of this.cells) {
      if (!cell.gone || cell.gone + FADE > at) continue;
      this.cells.delete(id);
      if (this.slots[cell.slot] === id) this.slots[cell.slot] = undefined;
    }
    this.trim();
  }

  trim() {
    while (this.slots.length && this.slots[this.slots.length - 1] === undefined) this.slots.pop();
  }

  // As many cells as there are handlers are drawn at least.
  get least() {
    return Math.max(this.cells.size, Math.min(this.concurrency || 0, 200), 1);
  }

  // The size of so many cells, how many stand side by side, and the height of all.
  grid(many) {
    const size = many <= 80 ? 28 : many <= 200 ? 21 : 15;
    const across = Math.max(1, Math.floor((this.width + GAP) / (size + GAP)));
    return { size, across, height: Math.ceil(many / across) * (size + GAP) };
  }

  layout() {
    this.many = Math.max(this.slots.length, this.least);
    const { size, across, height } = this.grid(this.many);
    this.size = size;
    if (this.heat) return 240;
    if (this.fifo) {
      if (groups) return groups.layout(this, this.width);
      import("./groups.js").then(found => ((groups = found), this.resize()));
      return 60;
    }
    this.spot = slot => [(slot % across) * (size + GAP), Math.floor(slot / across) * (size + GAP)];
    return height;
  }

  // The height grows at once. It shrinks to what was needed in the last seconds, and not while the pointer is on what
  // would move then.
  resize() {
    const { canvas } = this;
    if (!canvas?.parentElement) return;
    const now = performance.now();
    this.sweep(now);
    this.width = canvas.parentElement.clientWidth;
    let wanted = this.layout();
    const enough = this.heat || this.fifo ? wanted : this.grid(this.least).height;
    this.peak = Math.max(this.peak, enough);
    if (now >= this.settled && !(hovers.matches && document.querySelector(":is(.tabs, .tab):hover"))) {
      if (this.peak < this.height) {
        compact?.(this);
        wanted = this.layout();
        this.height = this.peak;
      }
      this.peak = enough;
      this.settled = now + CALM;
    }
    this.height = Math.max(this.height, wanted);
    clearTimeout(this.shrinks);
    if (this.height > enough) {
      if (!compact) import("./compact.js").then(found => ({ compact } = found));
      this.shrinks = setTimeout(() => this.resize(), Math.max(1000, this.settled - now));
    }
    for (const side of ["width", "height"]) {
      const pixels = Math.round(this[side] * devicePixelRatio);
      if (canvas[side] !== pixels) {
        canvas[side] = pixels;
        this.drawn = 0; // it is empty now: draw it in the next frame
      }
      canvas.style[side] = `${this[side]}px`;
    }
    this.wake();
  }

  wake() {
    this.until = performance.now() + 1500;
    if (!this.frame && !document.hidden) this.frame = requestAnimationFrame(time => this.tick(time));
  }

  // Some frames a second while cells change over, fewer when there are many, and none when the stream is silent.
  tick(time) {
    this.frame = 0;
    if (!this.canvas?.isConnected) return;
    if (time - (this.drawn || 0) > (this.cells.size > 150 ? 150 : 80)) {
      this.drawn = time;
      this.draw(time);
    }
    if (time < this.until && !this.heat && !reduced.matches) this.frame = requestAnimationFrame(next => this.tick(next));
  }

  palette() {
    const style = getComputedStyle(document.documentElement);
    const read = each => style.getPropertyValue(`--${each}`).trim();
    const named = Object.fromEntries(["faint", "ink", "soft", "red", "card"].map(each => [each, read(each)]));
    return { ...named, lease: [0, 1, 2, 3, 4].map(each => read(`lease-${each}`)) };
  }

  draw(time) {
    this.colors ||= this.palette();
    const pen = this.canvas.getContext("2d");
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    if (this.heat) return void import("./heat.js").then(({ drawHeat }) => this.heat && drawHeat(pen, this));
    if (this.fifo) groups?.drawNames(pen, this);
    else {
      pen.fillStyle = this.colors.faint;
      for (let slot = 0; slot < this.many; slot++) if (this.slots[slot] === undefined) box(pen, ...this.spot(slot), this.size);
    }
    const now = this.now();
    for (const [id, cell] of this.cells) this.drawCell(pen, id, cell, now, time);
  }

  drawCell(pen, id, cell, now, time) {
    const place = this.fifo ? this.spots.get(id) : this.spot(cell.slot);
    if (!place) return;
    const [x, y, head] = place;
    const { size, colors } = this;
    const [state, , started, end] = cell.row;
    const left = cell.gone ? 1 - (time - cell.gone) / FADE : 1;
    const seen = Math.min(1, Math.max(0, Math.min(left, (time - cell.born) / FADE)));
    if (reduced.matches ? cell.gone : !seen) {
      pen.fillStyle = colors.faint;
      if (!this.fifo) box(pen, x, y, size);
      return;
    }
    pen.globalAlpha = reduced.matches ? 1 : 0.25 + 0.75 * seen;
    const level = step((end - now) / this.lease);
    const color = colors.lease[level];
    pen.fillStyle = colors.card;
    box(pen, x, y, size);
    pen.fillStyle = color;
    const alpha = pen.globalAlpha;
    pen.globalAlpha = alpha * 0.28;
    pen.fill();
    pen.globalAlpha = alpha;
    const ran = started && state !== "waiting";
    const share = !ran ? 0 : ENDED.has(state) ? 1 : Math.min(1, Math.max(0.12, (now - started) / this.scale));
    if (share) {
      pen.save();
      rounded(pen, x, y, size);
      pen.clip();
      pen.fillRect(x, y + size * (1 - share), size, size * share);
      pen.restore();
    }
    const low = end - now < this.lease * 0.2;
    pen.strokeStyle = color;
    if (state === "waiting" || low) outline(pen, x + 0.75, y + 0.75, size - 1.5, 1.5);
    if (state === "lease_lost" || end <= now) {
      sign(pen, CROSS, x, y, size, colors.card, 6);
      sign(pen, CROSS, x, y, size, colors.red, 2.5);
    } else if (state === "acking") share && sign(pen, CHECK, x, y, size, level > 1 ? colors.card : colors.ink, 2);
    else if (low) sign(pen, MARK, x, y, size, colors.ink, 2);
    else if (head && state === "waiting") sign(pen, HALT, x, y, size, colors.ink, 2);
    const age = time - cell.ring;
    const ringed = cell.ring && age >= 0 && age < RING && !reduced.matches;
    if (ringed || id === this.chosen) {
      pen.globalAlpha = id === this.chosen ? 1 : 1 - age / RING;
      pen.strokeStyle = colors.ink;
      outline(pen, x - 1, y - 1, size + 2, 2);
    }
    pen.globalAlpha = 1;
  }
}

// The next round number of seconds: 1, 2, 3, 5 times a power of ten.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 3, 5, 10].find(each => each * power >= value * 0.999) * power;
}
