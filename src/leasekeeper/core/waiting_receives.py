"""How many receives wait at the queue at low rates, so that a message waits for its own call only.

The throttler asks. Pure: what is measured comes in, a number of receives comes out. The page about the throttler in
`docs/internals` has the figures.
"""

from __future__ import annotations

MISSED = 0.005
"""The share of messages that may find no receive waiting at the queue, while the rate is low."""

PROMPT_RATE = 100.0
"""Messages a second up to which a receive waits for almost every message, at about a receive a message.

Above this rate receives bring more messages each: the number of waiting receives is that of a lower rate, which falls
with the inverse of the rate of arrivals.
"""

LONE_RATE = 1.0
"""Messages a second that keep one receive only: a message alone must not hold several long polls open.

Each of them would cost a call when its wait ends.
"""

IDLE_MARGIN = 4.0
"""The wait of a long poll, divided by the time in which a message ends it on average, is at least this.

So almost no waiting receive comes back empty.
"""


def receives_ready(rate: float, latency: float, *, wait: float, most: int, probing: bool) -> int:
    """How many receives must be out so that one almost always waits at the queue.

    A message that finds no receive waiting is delayed by up to a whole call, because the next receive is only sent
    when an answer has come back. At low rates a second one costs nothing: each receive brings one message anyway.

    Args:
        rate: messages a second.
        latency: seconds of a receive that does not wait for messages.
        wait: seconds that a receive waits at an empty queue.
        most: the most receives, 1 or more.
        probing: twice as many above `PROMPT_RATE`, to see what another pace brings.
    """
    seldom_empty = int((rate - LONE_RATE) * wait / IDLE_MARGIN)
    most = max(1, min(most, seldom_empty))
    if rate <= PROMPT_RATE:
        return receives_needed(rate * latency, most)
    ready = receives_needed(PROMPT_RATE * PROMPT_RATE / rate * latency, most)
    return min(most, 2 * ready) if probing else ready


def receives_needed(load: float, most: int) -> int:
    """How many receives must be out so that a message finds one of them waiting, except for a share of `MISSED`.

    This is Erlang's formula for lost calls: messages arrive at random, and each keeps one receive busy with its answer
    for one latency.

    Args:
        load: answers under way at once, on average: messages a second times seconds of a call's latency.
        most: the most receives, 1 or more.
    """
    receives, missed = 1, load / (1 + load)
    while missed > MISSED and receives < most:
        receives += 1
        missed = load * missed / (receives + load * missed)
    return receives
