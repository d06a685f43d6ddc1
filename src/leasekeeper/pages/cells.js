// What the drawings of leases share: the gap between cells, the colour of a lease, boxes and signs.

export const GAP = 3;

// The place of a share of the lease in the five colours.
export const step = share => Math.min(4, Math.max(0, Math.floor(share * 5)));

export function rounded(pen, x, y, size) {
  pen.beginPath();
  pen.roundRect(x, y, size, size, 3);
}

export function box(pen, x, y, size) {
  rounded(pen, x, y, size);
  pen.fill();
}

export function outline(pen, x, y, size, width) {
  pen.lineWidth = width;
  rounded(pen, x, y, size);
  pen.stroke();
}

// Signs in a cell, as lines between points in hundredths of its size.
export const CROSS = [[25, 25, 75, 75], [75, 25, 25, 75]];
export const CHECK = [[28, 70, 44, 85, 74, 55]];
export const MARK = [[50, 25, 50, 55], [50, 65, 50, 73]];
export const HALT = [[39, 38, 39, 62], [61, 38, 61, 62]];

export function sign(pen, lines, x, y, size, color, width) {
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.beginPath();
  for (const points of lines) {
    for (let at = 0; at < points.length; at += 2) pen[at ? "lineTo" : "moveTo"](x + (size * points[at]) / 100, y + (size * points[at + 1]) / 100);
  }
  pen.stroke();
}
