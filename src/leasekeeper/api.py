"""What users may replace: the SQS client, the source of credentials and the HTTP transport, as types.

`SqsApi` is the part of SQS that the engine uses. Two implementations exist: `leasekeeper.sqs.client.SqsClient` over
HTTP and `leasekeeper.local.client.LocalClient` in process. Every method raises `SqsError`. Batch methods answer by
position and never raise for single entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leasekeeper.errors import CredentialsMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from leasekeeper.errors import Verdict
    from leasekeeper.message import MessageAttribute, Received

BATCH = 10
"""Entries in a batch call and messages in a receive, at most (AWS SQS quotas)."""
RECEIVE_GRACE = 5.0
"""Seconds of silence beyond its wait after which a receive fails: a black-holed connection costs no more (L17)."""
MOST_ATTRIBUTES = 10
"""Attributes of one message, at most (AWS SQS quotas)."""
MAX_BYTES = 1_048_576
"""Bytes of a message with its attributes, and of a whole batch of sends (AWS SQS quotas)."""


@dataclass(frozen=True, slots=True)
class EntryFailure:
    """The reason why one entry of a batch failed.

    Attributes:
        verdict: what it means for the caller.
        code: the error code of SQS.
        message: the server's sentence.
        sender_fault: whether SQS blames the entry.
        retry_after: seconds that the server asks to wait before the next call, 0 to 60; 0: it does not.
    """

    verdict: Verdict
    code: str
    message: str
    sender_fault: bool
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that SQS accepted.

    Attributes:
        message_id: the id that SQS gave it.
        sequence_number: its place in the order of a FIFO queue; empty on a standard one.
        out_of_order: a sender: whether SQS took it although it refused, for a while, an earlier message of its group
            in the same call. `strict_order` rules that out.
    """

    message_id: str
    sequence_number: str = ""
    out_of_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to send.

    Attributes:
        body: text, 1 byte to 1 MiB with its attributes.
        delay: seconds before it can be received, 0 to 900; None takes the queue's. Not for FIFO queues.
        attributes: at most ten.
        system: system attributes; SQS knows `AWSTraceHeader`.
        group_id: message group: order on FIFO queues, tenant on standard ones.
        deduplication_id: FIFO queues only.
    """

    body: str
    delay: int | None = None
    attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    system: Mapping[str, str] = field(default_factory=dict)
    group_id: str | None = None
    deduplication_id: str | None = None


class SqsApi(Protocol):
    """The calls of SQS that a consumer makes."""

    async def queue_url(self, name: str, *, account: str | None = None) -> str:
        """The URL of the queue of that name; `account` for another account's."""
        ...

    async def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """The queue's attributes, values as text."""
        ...

    async def receive(
        self,
        queue_url: str,
        *,
        maximum: int,
        wait: float,
        visibility: int,
        attribute_names: Sequence[str] = ("All",),
        attempt_id: str | None = None,
    ) -> list[Received]:
        """Receive 1 to 10 messages, waiting up to `wait` (0-20) seconds for the first, hidden for `visibility` seconds.

        The call asks for all system attributes and verifies the answer's MD5s. It fails when the server stays silent
        for a few seconds longer than `wait`. FIFO queues: `attempt_id` lets a failed call be repeated.
        """
        ...

    async def delete_batch(self, queue_url: str, receipts: Sequence[str]) -> list[EntryFailure | None]:
        """Delete up to ten messages; one answer for each position, None where the delete was confirmed."""
        ...

    async def change_visibility_batch(
        self, queue_url: str, entries: Sequence[tuple[str, int]]
    ) -> list[EntryFailure | None]:
        """Set when up to ten messages (receipt, seconds from now) become visible; one answer for each position."""
        ...

    async def send_batch(self, queue_url: str, messages: Sequence[Outgoing]) -> list[Sent | EntryFailure]:
        """Send up to ten messages; one answer for each position."""
        ...

    async def close(self) -> None:
        """Close the connections; calls in flight may fail. May be called twice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """AWS credentials that sign a call.

    Attributes:
        access_key: the access key id.
        secret_key: the secret; never shown in a `repr`.
        token: the session token of temporary credentials; None for long-term ones.
        expiry: when they stop working, epoch seconds; None when they do not, or when that is not known.

    Raises:
        CredentialsMissing: a value is not text, is empty, or has a blank, a line break or a letter beyond ASCII in it;
            or `expiry` is not a number.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expiry: float | None = None

    def __post_init__(self) -> None:
        for name in ("access_key", "secret_key", "token"):
            value: object = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name != "token"):
                raise CredentialsMissing(f"the AWS {name} is of type {type(value).__name__}: it must be text")
            if isinstance(value, str) and (not value or not value.isascii() or not value.isprintable() or " " in value):
                # They become headers: a line break would end one, and such a key cannot be right anyway.
                raise CredentialsMissing(
                    f"the AWS {name} is empty, or has a blank, a line break or a letter beyond ASCII in it: "
                    "check where it is set for a stray end of line"
                )
        expiry: object = self.expiry
        if expiry is not None and (not isinstance(expiry, (int, float)) or not math.isfinite(expiry)):
            raise CredentialsMissing(
                f"the expiry of the AWS credentials is {expiry!r}: it must be epoch seconds, for a datetime its "
                "timestamp(), or None"
            )


class CredentialsProvider(Protocol):
    """A function that returns credentials: a plain one (run in a thread) or an async one (run on the engine's loop).

    It is called at the start, some time before the credentials expire, and when SQS refused them.
    """

    def __call__(self) -> Credentials | Awaitable[Credentials]:
        """The credentials to use from now on; what it raises is logged, and the call is made again later."""
        ...


class Response(NamedTuple):
    """An HTTP response, read to its end."""

    status: int
    header: Callable[[str], str | None]
    """Looks up a header by its name; upper and lower case are the same."""
    body: bytes | bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How a transport reaches its one endpoint.

    Attributes:
        url: the URL to post to.
        headers: sent with every call.
        connect_timeout: seconds to resolve the name and to establish a connection, TLS included.
        proxy: URL of an HTTP proxy, with user and password where it asks for them; None connects directly.
        ca_bundle: path of a PEM file with the certificates to trust, instead of the system's; None trusts the system's.
        verify: whether to check the server's certificate.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 5.0
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    verify: bool = True


class Transport(Protocol):
    """Posts to one endpoint, on one event loop; calls may overlap."""

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        """Post `body` and read the answer.

        If it is cancelled just when the answer is complete, it may return the answer, as ours does: otherwise messages
        in it would stay hidden. Its task then goes on without the cancellation.

        Args:
            body: of the request.
            headers: in addition to those of the settings.
            timeout: seconds of silence until the answer begins. An answer that keeps arriving may take longer.

        Raises:
            SqsError: UNAVAILABLE, with one of the codes of `leasekeeper.sqs.http.failure`.
        """
        ...

    async def close(self) -> None:
        """Close the connections; calls in flight fail. May be called twice."""
        ...


class TransportFactory(Protocol):
    """Makes a transport for an endpoint; it is called twice, for receives and for all other calls."""

    def __call__(self, settings: TransportSettings, /) -> Transport:
        """A transport that reaches that endpoint."""
        ...
