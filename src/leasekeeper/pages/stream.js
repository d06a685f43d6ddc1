// The stream of states: one EventSource, which is opened again after a failure and closed while the tab is hidden.
// A browser opens six connections to one address, for all its windows. The four oldest windows that are seen keep one each
// for their stream. Others ask for the state once a second, so that something is left for questions and actions.
// A state is never changed in place: a patch makes new objects along its path, so a held view keeps what it shows.

const STALE_AFTER = 4000; // milliseconds without an event
const SILENT_AFTER = 15_000; // milliseconds after which a connection that says nothing is given up: it may be dead
const LONGEST_WAIT = 8000;
const STREAMS = 4; // windows that keep a stream open
const HEARD = 3000; // milliseconds for which a window counts after its last word

export function merge(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const base = target && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const name in patch) {
    if (patch[name] === null) delete base[name];
    else base[name] = merge(base[name], patch[name]);
  }
  return base;
}

// The windows of this address that are seen. Each says so once a second, and at once to one that is new.
class Windows {
  constructor() {
    this.name = performance.timeOrigin + Math.random();
    this.heard = new Map();
    this.channel = new BroadcastChannel("leasekeeper-windows");
    this.channel.onmessage = ({ data }) => {
      const known = this.heard.has(data);
      this.heard.set(data, Date.now());
      if (!known) this.say();
    };
  }

  say() {
    if (!document.hidden) this.channel.postMessage(this.name);
  }

  // Whether this window is one of the oldest.
  get first() {
    for (const [name, at] of this.heard) if (Date.now() - at > HEARD) this.heard.delete(name);
    return [...this.heard.keys()].filter(name => name < this.name).length < STREAMS;
  }
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
    this.windows = new Windows();
    this.windows.say();
    document.addEventListener("visibilitychange", () => {
      this.windows.say();
      document.hidden ? this.pause() : this.open();
    });
    setInterval(() => this.check(), 1000);
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", () => this.source || this.open());
  }

  open(url = this.url) {
    this.close();
    this.url = url;
    this.opened = Date.now();
    if (document.hidden) return;
    if (!this.windows.first) return void this.ask();
    const source = (this.source = new EventSource(url));
    const take = apply => event => this.source === source && this.take(apply(JSON.parse(event.data)));
    source.addEventListener("state", take(state => state));
    source.addEventListener("patch", take(patch => merge(this.state, patch)));
    source.addEventListener("bye", () => this.source === source && this.retry("stopped"));
    source.onerror = () => this.source === source && this.retry(this.late() ? "stale" : this.status.phase);
  }

  take(state) {
    this.last = Date.now();
    this.wait = 500;
    this.state = state;
    this.say("live");
    this.onState(state);
  }

  // What a window does that keeps no stream.
  async ask() {
    const { url } = this;
    if (this.asking === url) return;
    this.asking = url;
    try {
      const answer = await fetch(url.replace("stream", "state"), { signal: AbortSignal.timeout(SILENT_AFTER) });
      if (!answer.ok) throw answer;
      const state = await answer.json();
      if (url === this.url && !this.source && !document.hidden) this.take(state);
    } catch {
      if (!this.source && !document.hidden && this.late()) this.say(this.status.phase === "stopped" ? "stopped" : "stale");
    } finally {
      if (this.asking === url) this.asking = null;
    }
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
    this.windows.say();
    if (document.hidden) return;
    if (this.source && !this.windows.first) this.close();
    if (!this.source && !this.timer) this.windows.first ? this.open() : this.ask();
    if (this.status.phase === "live" && this.late()) this.say("stale");
    if (this.source && Date.now() - Math.max(this.opened, this.last) > SILENT_AFTER) this.retry("stale");
  }

  pause() {
    this.close();
    this.say("hidden");
  }

  close() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.source?.close();
    this.source = null;
  }

  say(phase) {
    if (phase === this.status.phase) return;
    this.status = { phase, since: this.last && this.last / 1000 };
    this.onStatus(this.status);
  }
}
