"""The checks of `leasekeeper doctor`: each turns facts about a queue into a finding, with the commands that change it.

Pure. A check promises one finding, or None when it does not apply. Every command can be copied into a shell.
"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from leasekeeper.cli.policy import RedrivePolicy, number
from leasekeeper.cli.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leasekeeper.sqs.address import QueueAddress

DAY = 86_400
LIFETIME = 43_200
MOST_IN_FLIGHT = 120_000
LONGEST_RETENTION = 14 * DAY
OURS = "Leasekeeper sets its own for each receive (visibility_timeout) and extends it while a handler runs"


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: how bad it is.
        topic: what was checked.
        message: what was found and what it means.
        commands: lines to copy that change it.
    """

    level: Level
    topic: str
    message: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out about a queue.

    Attributes:
        address: the queue.
        url: its URL.
        attributes: its attributes, as SQS names them.
        sources: the names of the queues that have it as their dead-letter queue.
        dead_letters: attributes of its dead-letter queue; None when it has none or they could not be read.
        dead_letters_problem: why they could not be read.
        handler_seconds: the longest time of the handler, as the user says; None when not given.
        flags: `--endpoint-url`, `--region` and `--profile` for commands of the AWS CLI and of ours.
    """

    address: QueueAddress
    url: str
    attributes: Mapping[str, str]
    sources: tuple[str, ...] = ()
    dead_letters: Mapping[str, str] | None = None
    dead_letters_problem: str | None = None
    handler_seconds: float | None = None
    flags: tuple[str, ...] = ()

    def number(self, name: str) -> int:
        """A whole-number attribute; 0 without it."""
        return number(self.attributes.get(name)) or 0

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return self.attributes.get("QueueArn", "arn:aws:sqs:REGION:ACCOUNT:" + self.address.name)

    @property
    def policy(self) -> RedrivePolicy | None:
        """The redrive policy; None without one."""
        return RedrivePolicy.read(self.attributes)

    def command(self, *words: str) -> str:
        """A command for this queue's endpoint, quoted for the shell."""
        return shlex.join((*words, *self.flags))

    def set_attribute(self, name: str, value: object, *, url: str | None = None) -> str:
        """The command that sets an attribute."""
        change = ("--attributes", f"{name}={value}")
        return self.command("aws", "sqs", "set-queue-attributes", "--queue-url", url or self.url, *change)

    def set_policy(self, target: str, max_receives: int) -> str:
        """The command that sets the redrive policy."""
        policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": str(max_receives)})
        document = json.dumps({"RedrivePolicy": policy})
        return self.command("aws", "sqs", "set-queue-attributes", "--queue-url", self.url, "--attributes", document)


def kind(facts: Facts) -> Finding:
    """FIFO or standard, and what Leasekeeper does with it."""
    if not facts.address.fifo:
        return Finding(Level.OK, "kind", "standard: each message is delivered at least once, in no strict order")
    return Finding(Level.OK, "kind", "FIFO: one message of each group at a time, in order")


def visibility(facts: Facts) -> Finding:
    """The queue's visibility timeout against the handler's time."""
    seconds, handler = facts.number("VisibilityTimeout"), facts.handler_seconds
    if handler is not None and handler > LIFETIME:
        message = f"a handler of {handler:g} s takes longer than 12 hours, after which SQS ends every lease"
        return Finding(Level.FAIL, "visibility", message)
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


def redrive(facts: Facts) -> Finding:
    """Whether there is a redrive policy, and whether its maxReceiveCount is sensible."""
    policy, topic = facts.policy, "redrive policy"
    if policy is None:
        if facts.sources:
            sources = ", ".join(facts.sources)
            return Finding(Level.OK, topic, f"none, as it is itself the dead-letter queue of {sources}")
        message = "none: a message that always fails comes back until its retention ends, and is then deleted"
        return Finding(Level.WARN, topic, message, _create_policy(facts))
    most = policy.max_receives
    message = f"to {policy.name} after {counted(most, 'receive') if most is not None else 'some receives'}"
    commands = (facts.set_policy(policy.target, 5),)
    if most == 1:
        message += ": one lost answer, or one release at a stop, moves a good message there"
        return Finding(Level.FAIL, topic, message, commands)
    if most == 2:
        return Finding(Level.WARN, topic, f"{message}: lost answers and releases at a stop count too", commands)
    if most is not None and most > 100:
        return Finding(Level.WARN, topic, f"{message}: a message that always fails is tried for a long time", commands)
    return Finding(Level.OK, topic, message)


def _create_policy(facts: Facts) -> tuple[str, ...]:
    fifo = facts.address.fifo
    dead = facts.address.name.removesuffix(".fifo") + "-dead" + (".fifo" if fifo else "")
    change = f"MessageRetentionPeriod={LONGEST_RETENTION}" + (",FifoQueue=true" if fifo else "")
    target = facts.arn.rpartition(":")[0] + ":" + dead
    return (
        facts.command("aws", "sqs", "create-queue", "--queue-name", dead, "--attributes", change),
        facts.set_policy(target, 5),
    )


def dead_letter_retention(facts: Facts) -> Finding | None:
    """Whether dead letters are kept longer than messages: on standard queues both count from the first send."""
    if facts.policy is None:
        return None
    name, topic = facts.policy.name, "dead letters"
    if facts.dead_letters is None:
        return Finding(Level.WARN, topic, f"{name} cannot be checked: {facts.dead_letters_problem}")
    there = number(facts.dead_letters.get("MessageRetentionPeriod")) or 0
    here = facts.number("MessageRetentionPeriod")
    message = f"{name} keeps messages for {_duration(there)}, {facts.address.name} for {_duration(here)}"
    url = facts.url.rpartition("/")[0] + "/" + name
    commands = (facts.set_attribute("MessageRetentionPeriod", LONGEST_RETENTION, url=url),)
    if there < here and not facts.address.fifo:
        message += ": a dead letter's time counts from its first send, so it may be deleted before anyone looks"
        return Finding(Level.FAIL, topic, message, commands)
    if there <= here and there < LONGEST_RETENTION:
        return Finding(Level.WARN, topic, f"{message}: give people more time to look", commands)
    return Finding(Level.OK, topic, message)


def dead_letters_waiting(facts: Facts) -> Finding | None:
    """Whether there are dead letters to look at."""
    count = number((facts.dead_letters or {}).get("ApproximateNumberOfMessages")) or 0
    if not count or facts.policy is None:
        return None
    name = facts.policy.name
    commands = (
        facts.command("leasekeeper", "peek", name),
        facts.command("leasekeeper", "redrive", name, "--to", facts.address.name),
    )
    message = f"{name} holds about {counted(count, 'message')}: look, fix the cause, move them back"
    return Finding(Level.WARN, "dead letters", message, commands)


def retention(facts: Facts) -> Finding:
    """How long an outage may last before messages are deleted."""
    seconds = facts.number("MessageRetentionPeriod")
    if seconds < DAY:
        message = f"{_duration(seconds)}: a longer outage of the consumer loses messages"
        commands = (facts.set_attribute("MessageRetentionPeriod", 4 * DAY),)
        return Finding(Level.WARN, "retention", message, commands)
    return Finding(Level.OK, "retention", _duration(seconds))


def long_polling(facts: Facts) -> Finding:
    """The queue's default wait, for consumers that do not set one."""
    seconds = facts.number("ReceiveMessageWaitTimeSeconds")
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


def _duration(seconds: int) -> str:
    for size, unit in ((DAY, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds / size
            return f"{count:g} {unit}" + ("" if count == 1 else "s")
    return f"{seconds} s"


CHECKS: tuple[Callable[[Facts], Finding | None], ...] = (
    kind,
    visibility,
    redrive,
    dead_letter_retention,
    dead_letters_waiting,
    retention,
    long_polling,
    encryption,
    backlog,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings about a queue's attributes."""
    return [finding for check in CHECKS if (finding := check(facts)) is not None]
