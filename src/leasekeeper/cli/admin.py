"""The flags of the admin surface, and the surface that they ask for.

Owned by `leasekeeper run`. A token is best given as a variable: other users of a machine can read the flags of a
process.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.cli.targets import Target

log = safe_logger("leasekeeper.run")

PANEL = "Admin surface"
AdminOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Serve the live page, health, statistics and metrics there, e.g. 127.0.0.1:9900; a port alone is one of "
        "127.0.0.1; or unix:/PATH.",
        envvar="LEASEKEEPER_ADMIN",
        rich_help_panel=PANEL,
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="What actions need (pause, stop, concurrency, redrive), 8 characters or more; unset: read-only.",
        envvar="LEASEKEEPER_ADMIN_TOKEN",
        show_envvar=True,
        rich_help_panel=PANEL,
    ),
]
HostsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME,...",
        help="Names by which browsers may ask for the page, besides addresses and this machine's name.",
        envvar="LEASEKEEPER_ADMIN_HOSTS",
        rich_help_panel=PANEL,
    ),
]
PeersOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL,...",
        help="Other surfaces to show too: URLs, unix:/PATH, or dns:NAME:PORT for all addresses of a name.",
        envvar="LEASEKEEPER_PEERS",
        rich_help_panel=PANEL,
    ),
]
QueueIntervalOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How often SQS is asked for the counts of the queues while a surface is served; 0: never.",
        envvar="LEASEKEEPER_QUEUE_INTERVAL",
        rich_help_panel=PANEL,
        min=0,
    ),
]


@dataclass(frozen=True, slots=True)
class AdminWishes:
    """The surface that is asked for.

    Attributes:
        address: where it listens; None: nowhere.
        token: what actions need.
        hosts: names that browsers may use.
        peers: other surfaces.
        queue_interval: seconds between two questions to SQS.
    """

    address: str | None = None
    token: str | None = field(default=None, repr=False)
    hosts: Sequence[str] = ()
    peers: Sequence[str] = ()
    queue_interval: float = 30.0

    @contextmanager
    def served(self, targets: Sequence[Target]) -> Iterator[None]:
        """Serve it for these targets during the block, if it is asked for."""
        if not self.address:
            if self.peers:
                raise ConfigurationError("--peers without --admin: say where to show them, e.g. --admin 127.0.0.1:9900")
            yield
            return
        from leasekeeper.admin import AdminServer
        from leasekeeper.cli.desk import CommandLineDesk

        with AdminServer(
            *targets,
            address=self.address,
            token=self.token or None,
            hosts=self.hosts,
            peers=self.peers,
            queue_interval=self.queue_interval,
            desk=CommandLineDesk() if self.token else None,
        ) as server:
            log.info("admin: %s", server.url)
            yield


def listed(given: Sequence[str] | None) -> list[str]:
    """What was given, several with commas, or several times."""
    return [each.strip() for text in given or () for each in text.split(",") if each.strip()]
