"""A queue opened for one command: where it is, as whom we come, and what SQS says when it cannot be used.

Used by `send`, `peek`, `redrive` and `doctor`. It promises that SQS's refusals come out as one sentence with
what to do.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.engine.opening import ADVICE
from leasekeeper.errors import QueueUnusable, SqsError
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PANEL = "Where and as whom"
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name, URL or ARN.")]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url", metavar="URL", help="Endpoint of SQS, e.g. of `leasekeeper local`.", rich_help_panel=PANEL
    ),
]
RegionOption = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="AWS region.", rich_help_panel=PANEL)
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Profile of the AWS configuration.", rich_help_panel=PANEL),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a queue, as the command line says it."""

    queue: str
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None

    def settings(self) -> ClientSettings:
        """The same for the client."""
        return ClientSettings(
            region=self.region,
            endpoint_url=self.endpoint_url,
            profile=self.profile,
            queue=QueueAddress.parse(self.queue),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueue:
    """A queue that exists, and the client to use it with."""

    client: SqsClient
    address: QueueAddress
    url: str

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.address.name


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[OpenQueue]:
    """The queue, while it is used.

    Raises:
        ConfigurationError: no such address, region, profile or credentials.
        QueueUnusable: SQS refused the queue, or a call made inside.
    """
    settings = connection.settings()
    address = settings.queue
    assert address is not None
    async with await SqsClient.connect(settings) as client:
        try:
            url = address.url or await client.queue_url(address.name, account=address.account)
            yield OpenQueue(client=client, address=address, url=url)
        except SqsError as error:
            raise unusable(address.name, error) from error


def unusable(name: str, error: SqsError) -> QueueUnusable:
    """SQS's refusal as a sentence with what to do."""
    advice = ADVICE.get(error.verdict)
    return QueueUnusable(f"queue {name}: {str(error).rstrip('.')}" + (f"; {advice}" if advice else ""))
