// Leases of a FIFO queue: a box for each message group, its messages in order, the head first.

import { GAP } from "./cells.js";

const HEAD = 20; // height of a group's name
const order = new Intl.Collator("en", { numeric: true });

// Gives each cell its spot; returns the height of all.
export function layout(leases, width) {
  const { size } = leases;
  const boxes = [];
  const groups = new Map();
  for (const [id, cell] of leases.cells) {
    if (cell.gone) continue;
    const group = cell.row[5] ?? "";
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push([cell.row[1], id]);
  }
  const largest = Math.max(3, ...[...groups.values()].map(list => list.length));
  const column = Math.max(88, Math.min(6, largest) * (size + GAP) + 16);
  const across = Math.max(1, Math.floor(width / column));
  const spots = new Map();
  let x = 0;
  let y = 0;
  let tallest = 0;
  for (const [group, list] of [...groups].sort((one, other) => order.compare(one[0], other[0]))) {
    list.sort((one, other) => one[0] - other[0]);
    const inside = Math.max(1, Math.floor((column - 16 + GAP) / (size + GAP)));
    const rows = Math.ceil(list.length / inside);
    list.forEach(([, id], at) => spots.set(id, [x * column + (at % inside) * (size + GAP), y + HEAD + Math.floor(at / inside) * (size + GAP), at === 0]));
    boxes.push({ group, x: x * column, y, width: column - 16 });
    tallest = Math.max(tallest, HEAD + rows * (size + GAP) + 8);
    if (++x === across) [x, y, tallest] = [0, y + tallest, 0];
  }
  Object.assign(leases, { boxes, spots });
  return Math.max(60, y + tallest);
}

export function drawNames(pen, { boxes, colors }) {
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = colors.soft;
  for (const { group, x, y, width } of boxes) pen.fillText(fitted(pen, group || "no group", width), x, y + 13);
}

function fitted(pen, text, width) {
  let short = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  while (short.length > 2 && pen.measureText(short).width > width) short = `${short.slice(0, -2).replace(/…$/, "")}…`;
  return short;
}
