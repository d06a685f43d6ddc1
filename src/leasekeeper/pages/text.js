// Numbers, times and counts as people read them. Digits are rounded so that a figure does not flicker.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const NONE = "–";

// States of messages whose handler has ended: no figure of theirs goes on.
export const ENDED = new Set(["acking", "rejecting", "releasing"]);

export function count(value) {
  if (value == null) return NONE;
  return Math.abs(value) < 100_000 ? whole.format(value) : compact.format(value);
}

export function counted(value, noun, plural = `${noun}s`) {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

export function rate(value) {
  if (value == null) return NONE;
  if (value === 0 || value >= 99.5) return count(value);
  return value >= 9.95 ? value.toFixed(0) : value.toFixed(value < 0.1 ? 2 : 1);
}

// A time in at most two parts: 4 ms, 1.3 s, 2 min 5 s, 3 h 20 min, 4 d 2 h.
export function seconds(value) {
  if (value == null || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.00005) return "< 0.1 ms";
  if (size < 0.0995) return `${(value * 1000).toFixed(size < 0.00995 ? 1 : 0)} ms`;
  if (size < 9.95) return `${value.toFixed(1)} s`;
  if (size < 99.5) return `${value.toFixed(0)} s`;
  const total = Math.round(size);
  const [big, unit, small, rest] =
    total < 3600
      ? [Math.floor(total / 60), "min", total % 60, "s"]
      : total < 86_400
        ? [Math.floor(total / 3600), "h", Math.floor((total % 3600) / 60), "min"]
        : [Math.floor(total / 86_400), "d", Math.floor((total % 86_400) / 3600), "h"];
  return `${value < 0 ? "−" : ""}${big} ${unit}${small ? ` ${small} ${rest}` : ""}`;
}

export function bytes(value) {
  if (!value) return NONE;
  return value < 1e9 ? `${Math.round(value / 1e6)} MB` : `${(value / 1e9).toFixed(1)} GB`;
}

export function clock(epoch) {
  return epoch ? new Date(epoch * 1000).toLocaleTimeString("en-GB") : NONE;
}

export function ago(epoch, now) {
  return epoch ? `${seconds(Math.max(0, now - epoch))} ago` : NONE;
}

export function trend(value) {
  if (value == null) return { sign: "", word: "" };
  if (Math.abs(value) < 0.05) return { sign: "→", word: "steady" };
  return value > 0
    ? { sign: "↑", word: `grows by ${rate(value)} per second` }
    : { sign: "↓", word: `shrinks by ${rate(-value)} per second` };
}
