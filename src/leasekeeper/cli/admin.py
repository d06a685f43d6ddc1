"""The flags of the admin surface, and the surface that they ask for.

Owned by `leasekeeper run`. A token is best given as a variable: other users of a machine can read the flags of a
process.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.admin.address import AdminAddress
from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.cli.targets import Target
    from leasekeeper.supervision.lifeline import Lifeline

log = safe_logger("leasekeeper.run")


def _flag(name: str, text: str, **more: Any) -> Any:
    """How typer reads a field: `name` alone, so that a switch gets no `--no-` beside it, or a variable."""
    variable = f"LEASEKEEPER_{name.removeprefix('--').replace('-', '_').upper()}"
    return typer.Option(name, envvar=variable, rich_help_panel="Admin surface", help=text, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminWishes:
    """The surface that is asked for. Each field is a flag of `run`, and a variable: `LEASEKEEPER_` and its name."""

    admin: Annotated[
        str | None,
        _flag(
            "--admin",
            "Serve the live page, health, statistics and metrics there, e.g. 127.0.0.1:9900; a port alone is one of "
            "127.0.0.1; or unix:/PATH.",
            metavar="HOST:PORT",
        ),
    ] = None
    admin_token: Annotated[
        str | None,
        _flag(
            "--admin-token",
            "What actions need (pause, stop, concurrency, redrive), 8 characters or more; unset: read-only.",
            metavar="TOKEN",
        ),
    ] = field(default=None, repr=False)
    admin_hosts: Annotated[
        list[str] | None,
        _flag(
            "--admin-hosts",
            "Names by which browsers may ask for the page, besides addresses and this machine's name.",
            metavar="NAME,...",
        ),
    ] = None
    peers: Annotated[
        list[str] | None,
        _flag(
            "--peers",
            "Other surfaces to show too: URLs, HOST:PORT, a port of 127.0.0.1, unix:/PATH, or dns:NAME:PORT for all "
            "addresses of a name. An action for one of them takes the token there.",
            metavar="URL,...",
        ),
    ] = None
    actions_over_http: Annotated[
        bool,
        _flag(
            "--actions-over-http",
            "Pass actions, and with them the token, on to peers of other machines over plain http too.",
        ),
    ] = False
    queue_interval: Annotated[
        float,
        _flag(
            "--queue-interval",
            "How often SQS is asked for the counts of the queues while a surface is served; 0: never.",
            metavar="SECONDS",
            min=0,
        ),
    ] = 30.0

    @classmethod
    def of(cls, given: dict[str, Any]) -> AdminWishes:
        """Take what was given for these flags out of all that was given.

        Raises:
            ConfigurationError: the address is none, or there are peers and no address.
        """
        wishes = cls(**{each.name: given.pop(each.name) for each in fields(cls)})
        if wishes.admin:
            AdminAddress.parse(wishes.admin)
        elif wishes.peers:
            raise ConfigurationError("--peers without --admin: say where to show them, e.g. --admin 127.0.0.1:9900")
        return wishes

    @contextmanager
    def served(self, targets: Sequence[Target], lifeline: Lifeline | None = None) -> Iterator[None]:
        """Serve it for these targets during the block, if it is asked for; the supervisor knows how many work."""
        if not self.admin:
            yield
            return
        from leasekeeper.admin import AdminServer
        from leasekeeper.cli.desk import CommandLineDesk

        with AdminServer(
            *targets,
            address=self.admin,
            token=self.admin_token or None,
            hosts=_listed(self.admin_hosts),
            peers=_listed(self.peers),
            actions_over_http=self.actions_over_http,
            queue_interval=self.queue_interval,
            desk=CommandLineDesk() if self.admin_token else None,
            processes=1 if lifeline is None else lifeline.count,
        ) as server:
            log.info("admin: %s", server.url)
            yield


def flags() -> list[inspect.Parameter]:
    """The flags as typer reads them: as parameters of a function."""
    return list(inspect.signature(AdminWishes, eval_str=True).parameters.values())


def _listed(given: Sequence[str] | None) -> list[str]:
    """What was given, several with commas, or several times."""
    return [each.strip() for text in given or () for each in text.split(",") if each.strip()]
