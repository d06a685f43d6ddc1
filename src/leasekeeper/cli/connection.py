"""A queue opened for one command: its address, the credentials, and the sentence for a queue that cannot be used.

Used by the commands that talk to a queue. It promises that a refusal of SQS becomes one sentence with what to do.
"""

from __future__ import annotations

import asyncio
import difflib
import shlex
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.engine import opening
from leasekeeper.engine.opening import CONSUMING
from leasekeeper.errors import LeasekeeperError, QueueUnusable, SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress, address_of
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.sqs.urls import without_user_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from leasekeeper.api import Credentials, CredentialsProvider
    from leasekeeper.consumer import Consumer

LISTING = 3.0
"""Seconds in which the queues have to be listed to look for a name like one that does not exist."""
PANEL = "AWS"
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name, URL or ARN.")]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url", metavar="URL", help="SQS endpoint, e.g. that of `leasekeeper local`.", rich_help_panel=PANEL
    ),
]
RegionOption = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="AWS region of the queue.", rich_help_panel=PANEL)
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Profile of your AWS configuration.", rich_help_panel=PANEL),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a queue, as given on the command line or in a consumer's options."""

    queue: str
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials: Credentials | CredentialsProvider | None = field(default=None, repr=False)

    def settings(self) -> ClientSettings:
        """The same as the client's settings.

        Raises:
            ConfigurationError: the queue is malformed, or in another region.
        """
        return ClientSettings(
            region=self.region,
            endpoint_url=self.endpoint_url,
            profile=self.profile,
            credentials=self.credentials,
            queue=address_of(self.queue, self.region),
        )

    def flags(self) -> tuple[str, ...]:
        """The flags that were given, without passwords, for a command that we suggest."""
        endpoint_url = without_user_info(self.endpoint_url) if self.endpoint_url else None
        given = {"--endpoint-url": endpoint_url, "--region": self.region, "--profile": self.profile}
        return tuple(word for flag, value in given.items() if value for word in (flag, value))

    def command(self, *words: str) -> str:
        """A command of ours for the same endpoint, to be copied into a shell."""
        return shlex.join(("leasekeeper", *words, *self.flags()))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueue:
    """A queue that exists, and a client for it."""

    client: SqsClient
    address: QueueAddress
    url: str

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.address.name


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[OpenQueue]:
    """Open the queue and close the client at the end.

    Raises:
        ConfigurationError: an address, region, profile or credentials that cannot be used.
        QueueUnusable: SQS refused the queue, or a call inside the block.
    """
    settings = connection.settings()
    address = settings.queue
    assert address is not None
    async with await SqsClient.connect(settings) as client:
        try:
            url = address.url or await client.queue_url(address.name, account=address.account)
            yield OpenQueue(client=client, address=address, url=url)
        except SqsError as error:
            near = await near_name(client, address.name, error)
            raise QueueUnusable(f"{unusable(address.name, error)}{near}") from error


async def near_name(client: SqsClient, name: str, error: SqsError) -> str:
    """The end of a sentence about a queue that is not there: the one that was probably meant, if it can be listed."""
    if error.verdict is not Verdict.MISSING:
        return ""
    try:
        async with asyncio.timeout(LISTING):
            urls = await client.list_queues()
    except (LeasekeeperError, TimeoutError):
        return ""
    names = [url.rpartition("/")[2] for url in urls]
    other = name.removesuffix(".fifo") if name.endswith(".fifo") else f"{name}.fifo"
    if name in names:  # it was something else that is missing, or the queue is in another account
        return ""
    near = [other] if other in names else difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


@contextmanager
def suggesting_names(consumers: Iterable[Consumer]) -> Iterator[None]:
    """Say which queue was probably meant when consumers do not start because theirs does not exist."""
    try:
        yield
    except QueueUnusable as error:
        near = ""
        for each in consumers:
            options = each.options
            if str(error).startswith(f"queue {each.address.name} cannot") and options.client is None:
                connection = Connection(
                    queue=each.address.url or each.address.name,
                    endpoint_url=options.endpoint_url,
                    region=options.region or each.address.region,
                    profile=options.profile,
                    credentials=options.credentials,
                )
                with suppress(LeasekeeperError):
                    near = asyncio.run(_near_name(connection, error.__cause__))
        if not near:
            raise
        raise QueueUnusable(f"{error}{near}") from error


async def _near_name(connection: Connection, error: BaseException | None) -> str:
    if not isinstance(error, SqsError):
        return ""
    settings = connection.settings()
    assert settings.queue is not None
    async with await SqsClient.connect(settings) as client:
        return await near_name(client, settings.queue.name, error)


def unusable(name: str, error: SqsError) -> QueueUnusable:
    """SQS's refusal as a sentence with what to do."""
    return QueueUnusable(f"queue {name}: {with_advice(error)}")


def with_advice(error: SqsError) -> str:
    """The error and what to do about it, in one sentence: of a call that is denied, the permission that it needs."""
    return opening.with_advice(error, f"sqs:{error.operation.removesuffix('Batch')}" if error.operation else CONSUMING)
