"""The checks of `leasekeeper doctor`: each turns facts about a queue into a finding, with the commands that change it.

Pure. A check promises one finding, or None when it does not apply. `dead_letters.py` has those on dead letters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from leasekeeper.cli.doctor.dead_letters import (
    attempts,
    dead_letter_retention,
    dead_letters_waiting,
    halted_groups,
    order_of_dead_letters,
    redrive,
    shared_dead_letters,
)
from leasekeeper.cli.doctor.facts import DAY, Facts, Finding, Level, duration
from leasekeeper.cli.doctor.sns import subscription
from leasekeeper.cli.grace import cut_off, cut_short
from leasekeeper.engine.attempt_ids import MARGIN, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME = 43_200
MOST_IN_FLIGHT = 120_000
OURS = "Leasekeeper sets its own for each receive (visibility_timeout) and extends it while a handler runs"


def kind(facts: Facts) -> Finding:
    """FIFO or standard, and what Leasekeeper does with it."""
    if not facts.address.fifo:
        return Finding(Level.OK, "kind", "standard: each message is delivered at least once, in no strict order")
    fast = facts.attributes.get("FifoThroughputLimit") == "perMessageGroupId"
    limit = "with high throughput" if fast else "at most 300 calls a second of each kind, without high throughput"
    return Finding(Level.OK, "kind", f"FIFO: messages of one group in order, one at a time; {limit}")


def visibility(facts: Facts) -> Finding:
    """The visibility timeout: that of the consumer, or else that of the queue against the handler's time."""
    seconds, handler = facts.number("VisibilityTimeout"), facts.handler_seconds
    if handler is not None and handler > LIFETIME:
        message = f"a handler of {handler:g} s takes longer than 12 hours, after which SQS ends every lease"
        return Finding(Level.FAIL, "visibility", message)
    if facts.options is not None:
        return Finding(Level.OK, "visibility", _used(facts.options.visibility_timeout, seconds))
    wanted = math.ceil(max(30, 2 * (handler or 0)))
    if seconds == 0:
        problem = "0 s: a consumer that does not set its own receives each message again at once"
    elif handler is not None and seconds < handler:
        problem = f"{seconds} s is less than the handler's {handler:g} s: other consumers would run messages twice"
    elif seconds > 3_600:
        problem = f"{seconds} s: when a consumer that does not set its own crashes, messages stay hidden that long"
    else:
        hint = "" if handler is not None else "; give --handler-seconds to compare it with your handler"
        return Finding(Level.OK, "visibility", f"{seconds} s{hint}")
    return Finding(Level.WARN, "visibility", f"{problem}. {OURS}", (facts.set_attribute("VisibilityTimeout", wanted),))


def _used(option: int, seconds: int) -> str:
    """The consumer's own visibility timeout, which it extends however long a handler runs."""
    used = f"{option} s by visibility_timeout, extended while a handler runs"
    return used if option == seconds else f"{used}; the queue's {seconds} s are for other consumers"


def polling(facts: Facts) -> Finding | None:
    """Whether a lost answer of a FIFO queue can be asked for again before its leases end."""
    if facts.options is None or not facts.address.fifo:
        return None
    wait, visible = facts.options.wait_time, facts.options.visibility_timeout
    waits = shortened(wait, visible)
    message = f"visibility_timeout={visible} with wait_time={wait:g}: receives wait {waits:g} s"
    if waits >= wait:
        return Finding(Level.OK, "polling", message)
    message += (
        ", so that a receive without an answer can be repeated before its messages are visible again: wait_time and "
        f"{MARGIN:g} s must fit into visibility_timeout"
    )
    if waits >= wait / 2 and visible - waits >= MARGIN:
        return Finding(Level.OK, "polling", f"{message} for the whole wait")
    return Finding(Level.WARN, "polling", f"{message}. Use visibility_timeout={math.ceil(wait + MARGIN)} or more")


def retention(facts: Facts) -> Finding:
    """How long an outage may last before messages are deleted."""
    seconds = facts.number("MessageRetentionPeriod")
    if seconds < DAY:
        message = f"{duration(seconds)}: a longer outage of the consumer loses messages"
        commands = (facts.set_attribute("MessageRetentionPeriod", 4 * DAY),)
        return Finding(Level.WARN, "retention", message, commands)
    return Finding(Level.OK, "retention", duration(seconds))


def long_polling(facts: Facts) -> Finding:
    """The queue's default wait, for consumers that do not set one."""
    seconds = facts.number("ReceiveMessageWaitTimeSeconds")
    if seconds == 0 and facts.options is not None:
        return Finding(Level.OK, "long polling", "off by default; Leasekeeper sets its own (wait_time)")
    if seconds == 0:
        message = (
            "off by default: other consumers pay for many empty receives. Leasekeeper sets its own wait (wait_time)"
        )
        commands = (facts.set_attribute("ReceiveMessageWaitTimeSeconds", 20),)
        return Finding(Level.WARN, "long polling", message, commands)
    return Finding(Level.OK, "long polling", f"{seconds} s by default; Leasekeeper sets its own (wait_time)")


def encryption(facts: Facts) -> Finding:
    """Encryption at rest, and how often its keys are requested."""
    key = facts.attributes.get("KmsMasterKeyId")
    if key:
        reuse = facts.number("KmsDataKeyReusePeriodSeconds") or 300
        message = f"with the KMS key {key}, requested every {reuse} s; consumers need kms:Decrypt"
        if reuse < 300:
            commands = (facts.set_attribute("KmsDataKeyReusePeriodSeconds", 300),)
            return Finding(Level.WARN, "encryption", f"{message}. That often, KMS may throttle", commands)
        return Finding(Level.OK, "encryption", message)
    if facts.attributes.get("SqsManagedSseEnabled") == "true":
        return Finding(Level.OK, "encryption", "with keys that SQS manages (SSE-SQS)")
    commands = (facts.set_attribute("SqsManagedSseEnabled", "true"),)
    message = "messages are not encrypted at rest; keys that SQS manages (SSE-SQS) cost nothing"
    return Finding(Level.WARN, "encryption", message, commands)


def backlog(facts: Facts) -> Finding:
    """What is in the queue now, and how near the in-flight limit is."""
    waiting = facts.number("ApproximateNumberOfMessages")
    in_flight = facts.number("ApproximateNumberOfMessagesNotVisible")
    delayed = facts.number("ApproximateNumberOfMessagesDelayed")
    message = f"about {waiting:,} waiting, {in_flight:,} in flight, {delayed:,} delayed"
    if in_flight >= 0.8 * MOST_IN_FLIGHT:
        message += (
            f"; at {MOST_IN_FLIGHT:,} in flight SQS gives out no more: lower max_in_flight or run fewer consumers"
        )
        return Finding(Level.FAIL if in_flight >= MOST_IN_FLIGHT else Level.WARN, "messages", message)
    return Finding(Level.OK, "messages", message)


def stopping(facts: Facts) -> Finding | None:
    """Whether a stop has enough time before the runtime kills the process."""
    if facts.options is None or facts.stop is None:
        return None
    if facts.grace_period is None:
        message = f"a stop may take {facts.stop:g} s: give --grace-period to compare it with what your runtime allows"
        return Finding(Level.OK, "stop", message)
    if problem := cut_off(facts.options, facts.stop, facts.grace_period):
        return Finding(Level.WARN, "stop", problem)
    message = f"in at most {facts.stop:g} s, within {facts.grace_period:g} s"
    hurry = cut_short(facts.stop, facts.grace_period)
    return Finding(Level.OK, "stop", f"{message}; {hurry}" if hurry else message)


CHECKS: tuple[Callable[[Facts], Finding | None], ...] = (
    kind,
    visibility,
    polling,
    redrive,
    attempts,
    order_of_dead_letters,
    halted_groups,
    dead_letter_retention,
    shared_dead_letters,
    dead_letters_waiting,
    retention,
    long_polling,
    encryption,
    subscription,
    backlog,
    stopping,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings about a queue's attributes."""
    return [finding for check in CHECKS if (finding := check(facts)) is not None]
