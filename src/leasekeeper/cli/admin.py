"""The flags of the admin surface, and the surface that they ask for.

Owned by `leasekeeper run`. A token is best given as a variable: other users of a machine can read the flags of a
process.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.cli.targets import Target

log = safe_logger("leasekeeper.run")


def _flag(kind: Any, default: Any, text: str, **more: Any) -> Any:
    """A flag: the type that typer reads, the default, the text, and what else typer is told."""
    secret = more.get("metavar") == "TOKEN"
    return field(default=default, repr=not secret, metadata={"kind": kind, "told": {"help": text, **more}})


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminWishes:
    """The surface that is asked for. Each field is a flag of `run`, and a variable: `LEASEKEEPER_` and its name."""

    admin: str | None = _flag(
        str | None,
        None,
        "Serve the live page, health, statistics and metrics there, e.g. 127.0.0.1:9900; a port alone is one of "
        "127.0.0.1; or unix:/PATH.",
        metavar="HOST:PORT",
    )
    admin_token: str | None = _flag(
        str | None,
        None,
        "What actions need (pause, stop, concurrency, redrive), 8 characters or more; unset: read-only.",
        metavar="TOKEN",
    )
    admin_hosts: Sequence[str] = _flag(
        list[str] | None,
        (),
        "Names by which browsers may ask for the page, besides addresses and this machine's name.",
        metavar="NAME,...",
    )
    peers: Sequence[str] = _flag(
        list[str] | None,
        (),
        "Other surfaces to show too: URLs, HOST:PORT, a port of 127.0.0.1, unix:/PATH, or dns:NAME:PORT for all "
        "addresses of a name. An action for one of them takes the token there.",
        metavar="URL,...",
    )
    actions_over_http: bool = _flag(
        bool,
        False,
        "Pass actions, and with them the token, on to peers of other machines over plain http too.",
    )
    queue_interval: float = _flag(
        float,
        30.0,
        "How often SQS is asked for the counts of the queues while a surface is served; 0: never.",
        metavar="SECONDS",
        min=0,
    )

    @classmethod
    def of(cls, given: dict[str, Any]) -> AdminWishes:
        """Take what was given for these flags out of all that was given."""
        values = {each.name: given.pop(each.name) for each in fields(cls)}
        lists = {name: _listed(values[name] or ()) for name in ("admin_hosts", "peers")}
        return cls(**values | lists)

    @contextmanager
    def served(self, targets: Sequence[Target]) -> Iterator[None]:
        """Serve it for these targets during the block, if it is asked for."""
        if not self.admin:
            if self.peers:
                raise ConfigurationError("--peers without --admin: say where to show them, e.g. --admin 127.0.0.1:9900")
            yield
            return
        from leasekeeper.admin import AdminServer
        from leasekeeper.cli.desk import CommandLineDesk

        with AdminServer(
            *targets,
            address=self.admin,
            token=self.admin_token or None,
            hosts=self.admin_hosts,
            peers=self.peers,
            actions_over_http=self.actions_over_http,
            queue_interval=self.queue_interval,
            desk=CommandLineDesk() if self.admin_token else None,
        ) as server:
            log.info("admin: %s", server.url)
            yield


def flags() -> list[inspect.Parameter]:
    """The flags as typer reads them: as parameters of a function."""
    return [_parameter(each) for each in fields(AdminWishes)]


def _parameter(flag: Field[Any]) -> inspect.Parameter:
    kind = flag.metadata["kind"]
    name = f"--{flag.name.replace('_', '-')}"  # alone, so that a switch gets no `--no-` beside it
    option = typer.Option(
        name, envvar=f"LEASEKEEPER_{flag.name.upper()}", rich_help_panel="Admin surface", **flag.metadata["told"]
    )
    return inspect.Parameter(
        flag.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if flag.default == () else flag.default,
        annotation=Annotated[kind, option],
    )


def _listed(given: Sequence[str]) -> list[str]:
    """What was given, several with commas, or several times."""
    return [each.strip() for text in given for each in text.split(",") if each.strip()]
