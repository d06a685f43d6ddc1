"""What the engine and a worker process say to each other, as bytes on a stream.

Used on both sides. A frame is a length of four bytes and a MessagePack value. Nothing of a handler's objects crosses:
errors go as text, bodies as SQS sent them.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.batch import Trigger  # noqa: TC001 - msgspec reads the types of fields
from leasekeeper.lanes.processes.errors import pack_error, unpack_error
from leasekeeper.message import Received
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, WITHHELD, Failed, Outcome, Reject, Retry, Skipped, Unclaimed
from leasekeeper.texts import safe_repr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.errors import HandlerError

HEAD = 4
"""Bytes of a frame's length."""


class Run(msgspec.Struct, array_like=True, tag="run", gc=False):
    """Run the handler for this message; `message` is the message's number on this pipe."""

    message: int
    received: bytes
    attempt: int
    received_at: float
    later: bool
    """Whether what the handler says of its message counts when it has ended: on FIFO queues."""


class RunBatch(msgspec.Struct, array_like=True, tag="run batch", gc=False):
    """Run the handler for these messages. The numbers of its messages are those that follow `message`, in order."""

    message: int
    received: list[bytes]
    attempts: list[int]
    received_at: list[float]
    later: bool
    parts: list[int]
    """How many messages each call of the handler has; the calls follow one another."""
    trigger: Trigger
    waited: float
    ordered: bool
    copies: bool


class Recall(msgspec.Struct, array_like=True, tag="recall", gc=False):
    """Give back what has not started."""


class Settled(msgspec.Struct, array_like=True, tag="settled", gc=False):
    """How an early settlement ended; the value of `leasekeeper.outcomes.Settled`."""

    message: int
    how: str


class Lease(msgspec.Struct, array_like=True, tag="lease", gc=False):
    """How the lease of a message stands."""

    message: int
    lost: bool
    capped: bool
    deadline: float


class Finish(msgspec.Struct, array_like=True, tag="finish", gc=False):
    """Run nothing more, and end."""


class Ready(msgspec.Struct, array_like=True, tag="ready", gc=False):
    """The worker can run messages."""


class Broken(msgspec.Struct, array_like=True, tag="broken", gc=False):
    """The worker cannot start."""

    text: str
    traceback: str


class Started(msgspec.Struct, array_like=True, tag="started", gc=False):
    """The handler was called; `messages`: the numbers of those in a further call with a part of a batch."""

    message: int
    at: float
    messages: list[int] = []


class Ended(msgspec.Struct, array_like=True, tag="ended", gc=False):
    """The handler has ended, or was not called. `handler` is its name, where a queue has several."""

    message: int
    outcome: list[Any]
    rss: int = 0
    handler: str = ""


class Told(msgspec.Struct, array_like=True, tag="told", gc=False):
    """How single messages of a batch end. `final`: their call has ended; else it is known while the batch goes on."""

    message: int
    messages: list[int]
    outcome: list[Any]
    final: bool


class Says(msgspec.Struct, array_like=True, tag="says", gc=False):
    """The handler settles its message while it runs: delete (None), or retry after that many seconds."""

    message: int
    retry_after: float | None


class AsksLease(msgspec.Struct, array_like=True, tag="asks", gc=False):
    """How does the lease of this message stand, or those of this batch?"""

    message: int


class Counted(msgspec.Struct, array_like=True, tag="counted", gc=False):
    """What became of messages by their idempotency keys, by queue and counter."""

    counts: dict[str, dict[str, int]]


class Logged(msgspec.Struct, array_like=True, tag="logged", gc=False):
    """A log record of the worker."""

    record: dict[str, Any]


ToWorker = Run | RunBatch | Recall | Settled | Lease | Finish
ToEngine = Ready | Broken | Started | Ended | Told | Says | AsksLease | Counted | Logged

_encoder = msgspec.msgpack.Encoder()
_received = msgspec.msgpack.Decoder(Received)
to_worker = msgspec.msgpack.Decoder(ToWorker).decode
to_engine = msgspec.msgpack.Decoder(ToEngine).decode


def framed(frame: ToWorker | ToEngine) -> bytes:
    """The frame as bytes for the stream."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(HEAD, "big") + body


def pack_received(received: Received) -> bytes:
    """A message as it was received."""
    return _encoder.encode(received)


def unpack_received(data: bytes) -> Received:
    """The message again."""
    return _received.decode(data)


class Frames:
    """Divides a stream into the bodies of frames."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete with this data."""
        held = self._held
        held += data
        place = 0
        while len(held) - place >= HEAD:
            end = place + HEAD + int.from_bytes(held[place : place + HEAD], "big")
            if len(held) < end:
                break
            yield bytes(held[place + HEAD : end])
            place = end
        del held[:place]


# Outcomes

_PLAIN: dict[str, Outcome] = {"done": DONE, "withheld": WITHHELD, "ended": ENDED, "not started": NOT_STARTED}
_NAMES = {type(outcome): name for name, outcome in _PLAIN.items()}


def pack_outcome(outcome: Outcome) -> list[Any]:
    """An outcome as plain values."""
    if isinstance(outcome, Failed):
        rule, error = _pickled(outcome.rule)
        return ["failed", pack_error(outcome.error), rule, _packed(outcome.rule_error or error)]
    if isinstance(outcome, Retry):
        return ["retry", None if outcome.after is None else float(outcome.after)]
    if isinstance(outcome, Reject):
        return ["reject", str(outcome.reason), _packed(outcome.__cause__)]
    if isinstance(outcome, Skipped):
        return ["skipped", outcome.reason, outcome.warn]
    if isinstance(outcome, Unclaimed):
        return ["unclaimed", float(outcome.after), _packed(outcome.error), outcome.answered]
    return [_NAMES[type(outcome)]]


def unpack_outcome(packed: list[Any]) -> Outcome:
    """The outcome again; errors are of the class `HandlerError`, under the name of the original class."""
    kind, *values = packed
    if kind == "failed":
        error, rule, rule_error = values
        return Failed(
            unpack_error(error),
            rule=None if rule is None else pickle.loads(rule),  # noqa: S301 - from a process that we started
            rule_error=_unpacked(rule_error),
        )
    if kind == "retry":
        return Retry(values[0])
    if kind == "reject":
        rejected = Reject(values[0])
        rejected.__cause__ = _unpacked(values[1])
        return rejected
    if kind == "skipped":
        return Skipped(values[0], warn=values[1])
    if kind == "unclaimed":
        after, error, answered = values
        return Unclaimed(after, _unpacked(error), answered)
    return _PLAIN[kind]


def _packed(error: BaseException | None) -> list[Any]:
    return [] if error is None else pack_error(error)


def _unpacked(packed: list[Any]) -> HandlerError | None:
    return unpack_error(packed) if packed else None


def _pickled(rule: object) -> tuple[bytes | None, TypeError | None]:
    """What retries say of an error, as a schedule or seconds; one that cannot be taken along leaves the default."""
    if rule is None:
        return None, None
    try:
        return pickle.dumps(rule), None
    except Exception as error:
        return None, TypeError(
            f"retry= gave {safe_repr(rule, 200)}, which cannot be taken from a worker process to the engine ({error}): "
            "define its class at the top of a module, or give seconds"
        )
