// The flow of a consumer, drawn: queue, pollers, waiting room, leases, acks, done. Stations are DOM; leases are a canvas.
// The canvas keeps each message in its cell for as long as it is in hand, and is drawn only while something moves.

import { CHECK, CROSS, GAP, HALT, MARK, box, outline, rounded, sign, step } from "./cells.js";
import { h } from "./dom.js";
import { later } from "./parts.js";
import { ENDED, ago, count, counted, rate, seconds, trend } from "./text.js";

const MOST_CELLS = 480; // above, the cells become a heat map
const RING = 1200; // milliseconds that the ring of an extension is seen
const FADE = 260;

const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const MARKS = { waiting: "◌", full: "●", short: "◐", empty: "○", paused: "‖", failed: "✕" };
const MEANS = {
  waiting: "waiting for messages", full: "just answered with ten", short: "just answered with fewer than ten", empty: "just answered with none",
  paused: "in a pause", failed: "failed",
};

let groups = null; // the layout of a FIFO queue, once it is loaded
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
    Object.assign(this, { cells: new Map(), slots: [], lease: 1, scale: 1, heat: false, lost: 0, chosen: null, offset: 0, height: 0, settled: 0, fifo: false, spots: new Map() });
  }

  now() {
    return Date.now() / 1000 + this.offset;
  }

  attach(canvas) {
    if (canvas === this.canvas) return;
    if (this.canvas) this.sized.unobserve(this.canvas);
    this.canvas = canvas;
    canvas.onclick = event => this.choose(this.at(event.offsetX, event.offsetY));
    canvas.onpointermove = event => (canvas.style.cursor = this.at(event.offsetX, event.offsetY) ? "pointer" : "");
    this.sized.observe(canvas.parentElement);
    this.colors = null;
    this.resize();
  }

  choose(id) {
    this.chosen = id;
    this.wake();
    this.onChoose();
  }

  // A new state: known messages stay in their cells, new ones take free cells, a little apart in time.
  take(state, each, detail) {
    const at = performance.now();
    this.offset = state.now - Date.now() / 1000;
    this.fifo = each.fifo;
    const rows = Object.entries(detail.in_hand);
    this.heat = rows.length > MOST_CELLS;
    this.rows = rows;
    let longest = 0;
    this.lost = 0;
    for (const [, row] of rows) {
      longest = Math.max(longest, row[3] - state.now);
      if (row[0] === "lease_lost" || row[3] <= state.now) this.lost++;
    }
    this.lease = Math.max(1, each.visibility_timeout || nice(Math.max(longest, this.lease > 2 * longest ? 0 : this.lease)));
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
    for (const [id, cell] of this.cells) if (!here.has(id) && !cell.gone) cell.gone = at + this.spread();
    for (const [id, cell] of this.cells) {
      if (!cell.gone || cell.gone + FADE > at) continue;
      this.cells.delete(id);
      if (this.slots[cell.slot] === id) this.slots[cell.slot] = undefined;
    }
    let free = 0;
    for (const [id, row] of rows) {
      if (this.cells.has(id)) continue;
      while (this.slots[free] !== undefined && !this.cells.get(this.slots[free])?.gone) free++;
      const before = this.cells.get(this.slots[free]);
      if (before) this.cells.delete(this.slots[free]);
      this.cells.set(id, { slot: free, row, prior: before?.row, born: at + this.spread(), ring: 0, gone: 0 });
      this.slots[free] = id;
    }
    while (this.slots.length && this.slots[this.slots.length - 1] === undefined) this.slots.pop();
  }

  spread() {
    return reduced.matches ? 0 : Math.random() * 800;
  }

  layout(width) {
    const many = Math.max(this.slots.length, Math.min(this.concurrency || 0, 200), 1);
    const size = many <= 80 ? 28 : many <= 200 ? 21 : 15;
    const across = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
    this.size = size;
    if (this.heat) return 240;
    if (this.fifo) {
      if (groups) return groups.layout(this, width);
      import("./groups.js").then(found => ((groups = found), this.resize()));
      return 60;
    }
    this.spot = slot => [(slot % across) * (size + GAP), Math.floor(slot / across) * (size + GAP)];
    this.many = many;
    return Math.ceil(many / across) * (size + GAP);
  }

  resize() {
    const { canvas } = this;
    if (!canvas?.parentElement) return;
    this.width = canvas.parentElement.clientWidth;
    const wanted = this.layout(this.width);
    // It shrinks only after a while: what is beneath would jump up and down with each message.
    if (wanted >= this.height || performance.now() > this.settled) {
      this.height = wanted;
      this.settled = performance.now() + 10_000;
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
    const [state, , started, end] = (time < cell.born && cell.prior) || cell.row;
    const left = cell.gone && time > cell.gone ? Math.max(0, 1 - (time - cell.gone) / FADE) : 1;
    const seen = cell.prior && time < cell.born ? 1 : Math.min(left, Math.max(0, (time - cell.born) / FADE));
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

  at(x, y) {
    if (this.heat) return null;
    for (const [id, cell] of this.cells) {
      const place = this.fifo ? this.spots.get(id) : this.spot(cell.slot);
      if (place && !cell.gone && x >= place[0] && x < place[0] + this.size && y >= place[1] && y < place[1] + this.size) return id;
    }
    return null;
  }
}

// The next round number of seconds: 1, 2, 3, 5 times a power of ten.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 3, 5, 10].find(each => each * power >= value * 0.999) * power;
}
