"""What `leasekeeper doctor` thinks of a queue: each check turns facts into a finding, with the command that changes it.

Pure. A check promises one finding, or None where it has nothing to say.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DAY = 86_400
LIFETIME = 43_200
MOST_IN_FLIGHT = 120_000
LONGEST_RETENTION = 14 * DAY


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: how bad it is.
        what: which matter.
        said: what was found and what it means.
        fixes: commands that change it.
    """

    level: Level
    what: str
    said: str
    fixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out about a queue.

    Attributes:
        address: the queue.
        url: its URL.
        attributes: its attributes, as SQS names them.
        sources: queues whose dead letters it takes.
        dead_letters: attributes of its dead-letter queue; None when it has none or they could not be read.
        dead_letters_problem: why they could not be read.
        handler_seconds: how long the handler takes, as the user says; None when not said.
        endpoint_url: as the user said it; it goes into the commands.
    """

    address: QueueAddress
    url: str
    attributes: Mapping[str, str]
    sources: tuple[str, ...] = ()
    dead_letters: Mapping[str, str] | None = None
    dead_letters_problem: str | None = None
    handler_seconds: float | None = None
    endpoint_url: str | None = None

    def number(self, name: str) -> int:
        """A whole-number attribute; 0 without it."""
        return int(self.attributes.get(name, "0"))

    @property
    def policy(self) -> Mapping[str, str]:
        """The redrive policy; empty without one."""
        found: dict[str, str] = json.loads(self.attributes.get("RedrivePolicy") or "{}")
        return found

    @property
    def dead_letter_name(self) -> str:
        """The name of the dead-letter queue; empty without one."""
        target = self.policy.get("deadLetterTargetArn")
        return QueueAddress.parse(target).name if target else ""

    def aws(self, command: str) -> str:
        """A command of the AWS CLI for this queue's endpoint."""
        return f"aws sqs {command}" + (f" --endpoint-url {self.endpoint_url}" if self.endpoint_url else "")

    def set_attribute(self, name: str, value: object, *, url: str | None = None) -> str:
        """The command that sets an attribute."""
        return self.aws(f"set-queue-attributes --queue-url {url or self.url} --attributes {name}={value}")


def kind(facts: Facts) -> Finding:
    """FIFO or standard, and what Leasekeeper does with it."""
    if not facts.address.fifo:
        return Finding(Level.OK, "kind", "standard: delivered at least once, in no strict order")
    return Finding(Level.FAIL, "kind", "FIFO: this version of Leasekeeper consumes standard queues only")


def visibility(facts: Facts) -> Finding:
    """The queue's visibility timeout against the handler's time."""
    seconds, handler = facts.number("VisibilityTimeout"), facts.handler_seconds
    ours = "Leasekeeper sets its own for each receive (visibility_timeout) and extends it while a handler works"
    if handler is not None and handler > LIFETIME:
        return Finding(
            Level.FAIL,
            "visibility",
            f"a handler of {handler:g} s outlives the 12 hours after which SQS ends every lease",
        )
    wanted = math.ceil(max(30, 2 * (handler or 0)))
    if seconds == 0:
        said = f"0 s: a consumer that does not set its own sees each message again at once. {ours}"
        return Finding(Level.WARN, "visibility", said, (facts.set_attribute("VisibilityTimeout", wanted),))
    if handler is not None and seconds < handler:
        said = f"{seconds} s is less than the handler's {handler:g} s: other consumers would work twice. {ours}"
        return Finding(Level.WARN, "visibility", said, (facts.set_attribute("VisibilityTimeout", wanted),))
    if seconds > 3_600:
        said = f"{seconds} s: after a crash of a consumer that does not set its own, messages stay away so long. {ours}"
        return Finding(Level.WARN, "visibility", said, (facts.set_attribute("VisibilityTimeout", wanted),))
    hint = "" if handler is not None else "; give --handler-seconds to compare it with"
    return Finding(Level.OK, "visibility", f"{seconds} s{hint}")


def redrive(facts: Facts) -> Finding:
    """Whether there is a redrive policy, and whether its maxReceiveCount is sane."""
    policy = facts.policy
    if not policy:
        if facts.sources:
            return Finding(
                Level.OK, "redrive policy", f"none; it is itself the dead-letter queue of {_all(facts.sources)}"
            )
        dead = facts.address.name.removesuffix(".fifo") + "-dead" + (".fifo" if facts.address.fifo else "")
        said = "none: a message that always fails comes again until its retention ends, and is then gone"
        return Finding(Level.WARN, "redrive policy", said, _policy_commands(facts, dead))
    most = int(policy["maxReceiveCount"])
    said = f"to {facts.dead_letter_name} after {most} receives"
    if most == 1:
        said += ": a receive whose answer is lost, or a release at a stop, sends a good message there"
        return Finding(Level.FAIL, "redrive policy", said, (_max_receives(facts, 5),))
    if most == 2:
        return Finding(
            Level.WARN, "redrive policy", f"{said}: stops and lost answers count too", (_max_receives(facts, 5),)
        )
    if most > 100:
        return Finding(
            Level.WARN, "redrive policy", f"{said}: a poisonous message is tried long", (_max_receives(facts, 5),)
        )
    return Finding(Level.OK, "redrive policy", said)


def _policy_commands(facts: Facts, dead: str) -> tuple[str, ...]:
    arn = facts.attributes.get("QueueArn", "arn:aws:sqs:REGION:ACCOUNT:NAME")
    target = arn.rpartition(":")[0] + ":" + dead
    fifo = ",FifoQueue=true" if facts.address.fifo else ""
    return (
        facts.aws(f"create-queue --queue-name {dead} --attributes MessageRetentionPeriod={LONGEST_RETENTION}{fifo}"),
        _set_policy(facts, target, 5),
    )


def _max_receives(facts: Facts, most: int) -> str:
    return _set_policy(facts, facts.policy["deadLetterTargetArn"], most)


def _set_policy(facts: Facts, target: str, most: int) -> str:
    policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": str(most)}, separators=(",", ":"))
    document = json.dumps({"RedrivePolicy": policy}, separators=(",", ":"))
    return facts.aws(f"set-queue-attributes --queue-url {facts.url} --attributes '{document}'")


def dead_letter_retention(facts: Facts) -> Finding | None:
    """Whether dead letters outlive messages: a standard queue's keep the time they were first sent."""
    if not facts.policy:
        return None
    name = facts.dead_letter_name
    if facts.dead_letters is None:
        return Finding(Level.WARN, "dead letters", f"{name} cannot be looked at: {facts.dead_letters_problem}")
    there, here = int(facts.dead_letters.get("MessageRetentionPeriod", "0")), facts.number("MessageRetentionPeriod")
    said = f"{name} keeps messages {_days(there)}, {facts.address.name} {_days(here)}"
    url = facts.url.rpartition("/")[0] + "/" + name
    fix = (facts.set_attribute("MessageRetentionPeriod", LONGEST_RETENTION, url=url),)
    if there < here and not facts.address.fifo:
        said += ": a dead letter keeps the time it was first sent, so it may be gone before anybody looks"
        return Finding(Level.FAIL, "dead letters", said, fix)
    if there <= here and there < LONGEST_RETENTION:
        return Finding(Level.WARN, "dead letters", f"{said}: give people more time to look", fix)
    return Finding(Level.OK, "dead letters", said)


def dead_letters_waiting(facts: Facts) -> Finding | None:
    """Whether somebody should look at the dead letters."""
    count = int((facts.dead_letters or {}).get("ApproximateNumberOfMessages", "0"))
    if not count:
        return None
    name, more = facts.dead_letter_name, f" --endpoint-url {facts.endpoint_url}" if facts.endpoint_url else ""
    commands = (f"leasekeeper peek {name}{more}", f"leasekeeper redrive {name} --to {facts.address.name}{more}")
    return Finding(
        Level.WARN, "dead letters", f"{name} holds about {count:,} messages: look, repair, move back", commands
    )


def retention(facts: Facts) -> Finding:
    """How long an outage may last before messages are gone."""
    seconds = facts.number("MessageRetentionPeriod")
    if seconds < DAY:
        said = f"{_days(seconds)}: a longer outage of the consumer loses messages"
        return Finding(Level.WARN, "retention", said, (facts.set_attribute("MessageRetentionPeriod", 4 * DAY),))
    return Finding(Level.OK, "retention", _days(seconds))


def long_polling(facts: Facts) -> Finding:
    """The queue's default wait, for consumers that do not say one."""
    seconds = facts.number("ReceiveMessageWaitTimeSeconds")
    if seconds == 0:
        said = "off by default: other consumers poll in vain and pay for it. Leasekeeper asks for long polls by itself"
        return Finding(Level.WARN, "long polling", said, (facts.set_attribute("ReceiveMessageWaitTimeSeconds", 20),))
    return Finding(Level.OK, "long polling", f"{seconds} s by default; Leasekeeper asks for its own wait_time")


def encryption(facts: Facts) -> Finding:
    """Encryption at rest, and how often keys are asked for."""
    key = facts.attributes.get("KmsMasterKeyId")
    if key:
        reuse = facts.number("KmsDataKeyReusePeriodSeconds") or 300
        said = f"with the KMS key {key}, asked for every {reuse} s; consumers need kms:Decrypt"
        if reuse < 300:
            fix = (facts.set_attribute("KmsDataKeyReusePeriodSeconds", 300),)
            return Finding(Level.WARN, "encryption", f"{said}. So often, KMS may throttle", fix)
        return Finding(Level.OK, "encryption", said)
    if facts.attributes.get("SqsManagedSseEnabled") == "true":
        return Finding(Level.OK, "encryption", "with keys of SQS")
    fix = (facts.set_attribute("SqsManagedSseEnabled", "true"),)
    return Finding(Level.WARN, "encryption", "none at rest; with keys of SQS it costs nothing", fix)


def backlog(facts: Facts) -> Finding:
    """What is in the queue now, and how far the in-flight limit is."""
    waiting = facts.number("ApproximateNumberOfMessages")
    flying = facts.number("ApproximateNumberOfMessagesNotVisible")
    delayed = facts.number("ApproximateNumberOfMessagesDelayed")
    said = f"about {waiting:,} messages wait, {flying:,} are in flight, {delayed:,} are delayed"
    if flying >= 0.8 * MOST_IN_FLIGHT:
        said += (
            f"; at {MOST_IN_FLIGHT:,} in flight SQS hands out no more: lower max_in_flight or the number of consumers"
        )
        return Finding(Level.FAIL if flying >= MOST_IN_FLIGHT else Level.WARN, "messages", said)
    return Finding(Level.OK, "messages", said)


def _days(seconds: int) -> str:
    for size, unit in ((DAY, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds / size
            return f"{count:g} {unit}" + ("" if count == 1 else "s")
    return f"{seconds} s"


def _all(names: tuple[str, ...]) -> str:
    return ", ".join(names)


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
