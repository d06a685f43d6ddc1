// Leases as a heat map, where there are too many for cells: lease left (across) by running time (down).

import { step } from "./cells.js";
import { count, seconds } from "./text.js";

export function drawHeat(pen, leases) {
  const left = 64;
  const bottom = 24;
  const columns = 20;
  const rows = 8;
  const found = Array.from({ length: rows }, () => new Array(columns).fill(0));
  const now = leases.now();
  for (const [, [, , started, end]] of leases.rows) {
    const column = Math.min(columns - 1, Math.max(0, Math.floor(((end - now) / leases.lease) * columns)));
    const run = started ? Math.max(0, now - started) / leases.scale : 0;
    found[started ? Math.min(rows - 1, 1 + Math.floor(run * (rows - 2))) : 0][column]++;
  }
  const most = Math.max(1, ...found.flat());
  const wide = (leases.width - left) / columns;
  const high = (leases.height - bottom) / rows;
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (let row = 0; row < rows; row++) {
    pen.fillStyle = leases.colors.soft;
    const label = row === 0 ? "waiting" : row === rows - 1 ? "longer" : `< ${seconds((row / (rows - 2)) * leases.scale)}`;
    pen.fillText(label, 0, row * high + high / 2);
    for (let column = 0; column < columns; column++) {
      const much = found[row][column];
      const x = left + column * wide;
      pen.fillStyle = leases.colors.faint;
      pen.fillRect(x, row * high, wide - 2, high - 2);
      if (!much) continue;
      pen.globalAlpha = 0.2 + 0.8 * Math.sqrt(much / most);
      pen.fillStyle = leases.colors.lease[step((column + 0.5) / columns)];
      pen.fillRect(x, row * high, wide - 2, high - 2);
      pen.globalAlpha = 1;
      if (wide > 30) {
        pen.fillStyle = much / most > 0.3 ? leases.colors.card : leases.colors.ink;
        pen.textAlign = "center";
        pen.fillText(count(much), x + wide / 2 - 1, row * high + high / 2);
        pen.textAlign = "left";
      }
    }
  }
  pen.fillStyle = leases.colors.soft;
  for (let at = 0; at <= 4; at++) {
    pen.textAlign = at === 4 ? "right" : at ? "center" : "left";
    pen.fillText(at === 0 ? "0 s left" : seconds((leases.lease * at) / 4), left + ((leases.width - left) * at) / 4, leases.height - 8);
  }
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
}
