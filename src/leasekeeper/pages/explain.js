// One tooltip for all figures: what an element with `data-about` means and what to do, on hover and on focus.
// The sentences are those of the metrics catalogue (`api/meanings`), and the ones below for what the page works out.

const OWN = {
  rate_in: ["Messages received per second, over the last five seconds.", "Above out for long: the backlog grows."],
  rate_out: ["Handlers that ended well per second, over the last five seconds.", "Divided by the running handlers it says what one of them does."],
  backlog: ["Messages that can be received, as SQS counts them: approximately and some seconds late. In seconds: what they need at the present rate. The arrow is their trend.", "Growing for minutes: add concurrency while handlers wait for something else, or processes."],
  lag: ["Seconds from sent to received: 95 of 100 messages were faster. It compares two clocks.", "It rises when messages wait in the queue: add processes or concurrency."],
  failures: ["Handlers that raised or ran out of time, in the last minute, whatever followed.", "Open the consumer: Failures groups them by exception and place."],
  margin: ["The smallest lease left now, of all messages in hand. The heartbeat extends a lease at half its time.", "Near 0: calls to SQS fail or come late. Look at Leases, and raise visibility_timeout."],
  calls: ["Calls to SQS for each finished message, in the last minute. SQS charges for calls.", "About 0.2 at full load, about 1.1 when messages come one by one; longest_pause trades calls for latency."],
  running: ["Handlers that run now, of those that may run at once.", "Full all the time: handlers are the bottleneck. Raise concurrency, or make them faster."],
  waiting: ["Messages here that wait for a handler; their leases are kept.", "It should be small. Large for long: handlers are slow, or a rate limits them."],
  pollers: ["One mark for each receive loop: waiting for messages, or what its last answer brought: full, short, empty.", "All full: receives are the bottleneck; raise max_pollers. Failed: read the reason above."],
  leases: ["One cell for each message in hand. Colour: how much of its lease is left. Fill: how long it has run.", "Amber cells should turn deep again when the heartbeat extends them. A cross has lost its lease: it may run twice."],
  acks: ["Finished messages that wait for their delete. Up to ten share a call.", "Full for long: SQS does not confirm deletes; look at the reason above."],
  done: ["Messages deleted, confirmed by SQS, since the start.", "Its rate is that of the messages that are really over."],
  queue: ["What SQS says of the queue: visible can be received; in flight are held by consumers, these and others; delayed come later.", "In flight far above what is in hand here: other consumers hold them, or crashed ones did."],
  dead: ["Messages in the dead-letter queue.", "Look at them with leasekeeper peek; after the cause is mended, redrive them."],
  memory: ["Memory of the process that is in RAM.", "It should be level after the first minutes."],
  uneven: ["This process differs from the others by more than half.", "Look at its CPU and its network; or it started late, or holds slow messages."],
  in_flight: ["Messages that a consumer has received and not yet deleted.", "They come back when their visibility timeout ends."],
  delayed: ["Messages that become visible later, by their delay.", "Nothing to do."],
  oldest: ["Age of the message that was sent first, of all in the queue.", "Rising: nothing consumes, or too slowly."],
  stream: ["How fresh the page is. It asks nothing while its tab is hidden.", "Stale: the process or the network does not answer; the page tries again by itself."],
  state_running: ["It receives and runs messages.", "Nothing to do."],
  state_paused: ["It receives nothing until it is resumed. Messages in hand run to their end.", "Resume it when the cause is gone."],
  state_quiet: ["It receives nothing more. Messages in hand run to their end, and a stop follows.", "Stop the process, or wait until a deployment does."],
  state_draining: ["A stop was asked for: running handlers finish, what has not started goes back to the queue.", "Wait; it ends within drain_timeout."],
  state_unhealthy: ["No receive succeeds, or SQS refuses to settle.", "The sentence beside it says why. leasekeeper doctor checks the queue and the permissions."],
  state_starting: ["It connects and looks at its queue.", "Wait some seconds."],
  state_stopped: ["It has ended, or has not been started.", "The process's log says why."],
  state_unreachable: ["Its admin surface does not answer, so nothing is known of it.", "Check that the process runs, and its address."],
};
let catalogue = {};
let box = null;
let shown = null;

export async function explain(url) {
  box = document.body.appendChild(Object.assign(document.createElement("div"), { className: "tip", id: "tip" }));
  box.setAttribute("role", "tooltip");
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, event => show(event.target.closest?.("[data-about]"), kind));
  document.addEventListener("pointerout", event => event.relatedTarget?.closest?.("[data-about]") !== shown && hide());
  document.addEventListener("focusout", hide);
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", event => event.key === "Escape" && hide());
  if (url) catalogue = await fetch(url).then(answer => (answer.ok ? answer.json() : {}), () => ({}));
}

function show(target, kind) {
  if (!target || target === shown || (kind === "focusin" && !target.matches(":focus-visible"))) return;
  const found = OWN[target.dataset.about] || catalogue[target.dataset.about];
  if (!found) return;
  hide();
  shown = target;
  shown.setAttribute("aria-describedby", "tip");
  const [meaning, advice] = found.map(text => Object.assign(document.createElement("p"), { textContent: text.replaceAll("`", "") }));
  box.replaceChildren(meaning, advice);
  box.classList.add("on");
  const at = target.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  const below = at.bottom + 8 + height < innerHeight;
  box.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, at.left))}px`;
  box.style.top = `${Math.max(8, below ? at.bottom + 8 : at.top - height - 8)}px`;
}

export function hide() {
  shown?.removeAttribute("aria-describedby");
  shown = null;
  box?.classList.remove("on");
}
