// The stream of states: one EventSource, which is opened again after a failure and closed while the tab is hidden.
// A state is never changed in place: a patch makes new objects along its path, so a held view keeps what it shows.

const STALE_AFTER = 4000; // milliseconds without an event
const SILENT_AFTER = 15_000; // milliseconds after which a connection that says nothing is given up: it may be dead
const LONGEST_WAIT = 8000;

export function merge(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const base = target && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const name in patch) {
    if (patch[name] === null) delete base[name];
    else base[name] = merge(base[name], patch[name]);
  }
  return base;
}

export class Stream {
  // `onState(state)` with each new state; `onStatus(status)` when the connection changes. A status is
  // { phase: "connecting" | "live" | "stale" | "stopped" | "hidden", since: epoch seconds or null, error }.
  constructor(url, { onState, onStatus }) {
    Object.assign(this, { url, onState, onStatus });
    this.state = null;
    this.last = null;
    this.wait = 500;
    this.status = { phase: "connecting", since: null, error: "" };
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.open()));
    setInterval(() => this.check(), 1000);
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", () => this.source || this.open());
  }

  open(url = this.url) {
    this.close();
    this.url = url;
    this.opened = Date.now();
    if (document.hidden) return;
    const source = (this.source = new EventSource(url));
    const take = apply => event => {
      if (this.source !== source) return;
      this.last = Date.now();
      this.wait = 500;
      this.state = apply(JSON.parse(event.data));
      this.say("live");
      this.onState(this.state);
    };
    source.addEventListener("state", take(state => state));
    source.addEventListener("patch", take(patch => merge(this.state, patch)));
    source.addEventListener("bye", () => this.source === source && this.retry("stopped"));
    source.onerror = () => this.source === source && this.retry(this.late() ? "stale" : this.status.phase);
  }

  // Some servers end a stream from time to time: that is no news as long as the next one opens soon.
  retry(phase) {
    this.close();
    this.say(this.status.phase === "stopped" ? "stopped" : phase);
    this.timer = setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
  }

  late() {
    return !this.last || Date.now() - this.last > STALE_AFTER;
  }

  check() {
    if (this.status.phase === "live" && this.late()) this.say("stale");
    if (this.source && Date.now() - Math.max(this.opened, this.last) > SILENT_AFTER) this.retry("stale");
  }

  pause() {
    this.close();
    this.say("hidden");
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  say(phase) {
    if (phase === this.status.phase) return;
    this.status = { phase, since: this.last && this.last / 1000 };
    this.onStatus(this.status);
  }
}
