"""What `leasekeeper doctor` found out about a queue, and what it concludes: facts and findings.

Pure. Every command of a finding can be copied into a shell.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from leasekeeper.cli.redrive_policy import RedrivePolicy, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.options import Options
    from leasekeeper.sqs.address import QueueAddress

DAY = 86_400


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
        dead_letters_of: the names of all queues with that dead-letter queue; empty when that may not be read.
        handler_seconds: the longest time of the handler, as the user says; None when not given.
        options: those of the consumer; None when only the queue is known.
        stop: seconds that a stop of the consumer may take; None when only the queue is known.
        grace_period: seconds that the runtime waits before it kills the process; None when not given.
        flags: `--endpoint-url`, `--region` and `--profile` for commands of the AWS CLI and of ours.
    """

    address: QueueAddress
    url: str
    attributes: Mapping[str, str]
    sources: tuple[str, ...] = ()
    dead_letters: Mapping[str, str] | None = None
    dead_letters_problem: str | None = None
    dead_letters_of: tuple[str, ...] = ()
    handler_seconds: float | None = None
    options: Options | None = None
    stop: float | None = None
    grace_period: float | None = None
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


def duration(seconds: int) -> str:
    """Seconds in the largest unit that fits: `4 days`."""
    for size, unit in ((DAY, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds / size
            return f"{count:g} {unit}" + ("" if count == 1 else "s")
    return f"{seconds} s"
