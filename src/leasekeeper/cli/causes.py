"""Why messages are in a dead-letter queue: what each says of itself, and messages in groups of one cause.

Used by `peek`, `redrive` and the desk of a surface. Pure. It promises that errors which differ only in numbers, ids and
quoted values are one cause, that names in our own advice stay readable (`envelope='sns'`), and that the text of a cause
matches all its messages as a pattern of `--where`. Codes stay apart: `HTTP 404` and `HTTP 500`, and `E5` at the
beginning or after "code", are two causes.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from leasekeeper.cli.redrive_policy import name_in
from leasekeeper.failure import Failure, seconds_of, timestamp
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from leasekeeper.message import Received

SOURCE_OF_SQS = "DeadLetterQueueSourceArn"
"""The system attribute of a message that SQS moved."""
MOVED, UNKNOWN = "maxReceiveCount", "unknown"
"""The reasons of messages that SQS moved, and of those that say nothing."""
LONGEST = 300
"""Characters of a message that make a cause."""
EXAMPLES = 3
"""Ids of messages that a group names."""

_SPACE = re.compile(r"\s+")
_VARIABLE = re.compile(
    r"""
    (?P<kept>
        \b(?:HTTP(?:/[0-9.]{1,3})?|[Ee]rrno|(?i:status(?:[ _]code)?|code))(?:[ ]|[ ]?[:=][ ]?)[A-Z]{,5}-?[0-9]{1,5}\b
      | \A[A-Z]{1,5}-?[0-9]{1,5}\b(?=:)                                     # E5: card refused
      | \b(?i:utf-?8|s3(?:event|record)?|http2|ipv[46]|sha1|md5|v[0-9])\b                    # names
      | (?<!\w)(?P<q>['"])(?:auto|sns|eventbridge|s3|cloudevents)(?P=q)(?!\w)  # as our advice quotes envelopes
      | \bhandler_timeout=[0-9.]{1,12}
    )
    | (?<!\w)(?: '[^'\n]*' | "[^"\n]*" | `[^`\n]*` )(?!\w)                    # quoted values
    | \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b              # UUIDs
    | \b0[xX][0-9a-fA-F]+\b
    | \b(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b                                 # digests, trace ids
    | \b(?=\w*[0-9])(?=\w*[A-Za-z])\w{16,}\b                                # keys, tokens
    | (?<![A-Za-z])[0-9]+(?:[.,:/T_-][0-9]+)*(?:[.]?Z\b|[+][0-9:]+)?        # numbers, times, addresses
    | [0-9]+                                                                # what follows letters: order12, p5
    """,
    re.VERBOSE,
)
_LIST = re.compile(r"\*(?:[\s,;]+\*)+")


def one_line(text: str) -> str:
    """The text with each run of white space as one blank, as `--where` sees it."""
    return _SPACE.sub(" ", text).strip()


def normalised(text: str) -> str:
    """The text on one line with `*` for numbers, ids, UUIDs, hexadecimal and quoted values; cut if it is long."""
    line = _LIST.sub("*", _VARIABLE.sub(lambda found: found["kept"] or "*", one_line(text)))
    return line if len(line) <= LONGEST else line[:LONGEST].rstrip("*") + "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What a message says about how it came to a dead-letter queue.

    Attributes:
        queue: the name of the queue that it came from; empty when it is not known.
        moved: SQS moved it, and so can move it back without being told where to.
        failure: why a consumer copied it; None for a message that SQS moved, and when the message does not say it.
        sent: when it was sent first, epoch seconds; 0.0 when unknown.
    """

    queue: str = ""
    moved: bool = False
    failure: Failure | None = None
    sent: float = 0.0

    @classmethod
    def of(cls, message: Received) -> Self:
        """What the message says."""
        failure = Failure.of(message)
        if source := message.system.get(SOURCE_OF_SQS):
            # The failure is of an earlier life, before a redrive; SQS has moved the message since.
            return cls(queue=name_in(source), moved=True, sent=message.sent_at)
        if failure is None:
            return cls(sent=message.sent_at)
        return cls(queue=name_in(failure.queue), failure=failure, sent=seconds_of(failure.sent) or message.sent_at)

    @property
    def error(self) -> str:
        """The name of the exception's class; empty when unknown."""
        return self.failure.error if self.failure else ""

    @property
    def reason(self) -> str:
        """What ended the tries; `MOVED` or `UNKNOWN` when no consumer said it."""
        return (self.failure.reason if self.failure else "") or (MOVED if self.moved else UNKNOWN)

    @property
    def text(self) -> str:
        """The exception's text on one line; empty when unknown."""
        return one_line(self.failure.message) if self.failure else ""

    @property
    def failed(self) -> float:
        """When it failed for the last time, epoch seconds; 0.0 when unknown."""
        return seconds_of(self.failure.at) if self.failure else 0.0


@dataclass(slots=True, kw_only=True)
class Cause:
    """Dead letters of one cause.

    Attributes:
        error: the name of the exception's class; empty when unknown.
        text: the normalised text of the exception.
        reason: what ended the tries of the first of them.
        count: how many there are.
        queues: the queues that they came from, with their counts.
        failed: the first and the last time at which one failed, epoch seconds; None when unknown.
        sent: the first and the last time at which one was sent.
        examples: the ids of the first of them.
        example: the text of the first of them.
    """

    error: str
    text: str
    reason: str
    example: str
    count: int = 0
    queues: Counter[str] = field(default_factory=Counter)
    failed: tuple[float, float] | None = None
    sent: tuple[float, float] | None = None
    examples: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The cause on one line, safe to print."""
        if self.error or self.text:
            return printable(": ".join(filter(None, (self.error, self.text))))
        titles = {MOVED: "moved by SQS (maxReceiveCount)", UNKNOWN: "no cause recorded: no consumer of ours sent it"}
        return titles.get(self.reason, printable(self.reason))

    @property
    def where(self) -> tuple[str, ...]:
        """The values of `--where` that choose these messages."""
        if not (self.error or self.text):
            return (f"reason={self.reason}",)
        text = "" if self.error and self.text == "*" else self.text  # it would choose every text
        return tuple(f"{key}={value}" for key, value in (("error", self.error), ("message", text)) if value)

    def as_object(self) -> dict[str, Any]:
        """The cause as JSON shows it; times are in ISO 8601, null when unknown."""
        failed, sent = self.failed or (0.0, 0.0), self.sent or (0.0, 0.0)
        return {
            "count": self.count,
            "reason": self.reason,
            "error": self.error,
            "message": self.text,
            "example": self.example,
            "queues": dict(self.queues.most_common()),
            "first_failed": timestamp(failed[0]) or None,
            "last_failed": timestamp(failed[1]) or None,
            "first_sent": timestamp(sent[0]) or None,
            "last_sent": timestamp(sent[1]) or None,
            "ids": self.examples,
            "where": list(self.where),
        }

    def add(self, letter: DeadLetter, message_id: str) -> None:
        """Count one more."""
        self.count += 1
        self.queues[letter.queue or "unknown"] += 1
        self.failed = _widened(self.failed, letter.failed)
        self.sent = _widened(self.sent, letter.sent)
        if len(self.examples) < EXAMPLES:
            self.examples.append(message_id)


def _widened(span: tuple[float, float] | None, moment: float) -> tuple[float, float] | None:
    if not moment:
        return span
    return (moment, moment) if span is None else (min(span[0], moment), max(span[1], moment))


class Causes:
    """Dead letters in groups of one cause. Bodies are not kept.

    Args:
        messages: those to begin with.
    """

    def __init__(self, messages: Iterable[Received] = ()) -> None:
        self._causes: dict[tuple[str, str, str], Cause] = {}
        for message in messages:
            self.add(message)

    def add(self, message: Received) -> None:
        """Put one into its group."""
        letter = DeadLetter.of(message)
        text = normalised(letter.text)
        key = (letter.error, text, "" if letter.error or text else letter.reason)
        if key not in self._causes:
            self._causes[key] = Cause(
                error=letter.error,
                text=text,
                reason=letter.reason,
                example=letter.failure.message if letter.failure else "",
            )
        self._causes[key].add(letter, message.message_id)

    def sorted(self) -> list[Cause]:
        """The causes, that of most messages first."""
        return sorted(self._causes.values(), key=lambda cause: (-cause.count, cause.title))
