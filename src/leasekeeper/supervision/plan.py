"""What `leasekeeper run` asks of the supervisor, read from its arguments without typer.

Used by the console script before it imports anything heavy. It promises to leave what it does not understand to the
program, which has the words for mistakes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leasekeeper.supervision.lines import LEVELS
from leasekeeper.supervision.protocol import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 1000
"""Processes that one supervisor may have."""
FORMATS = ("plain", "json")
_OWN = {"--processes": "LEASEKEEPER_PROCESSES", "--admin": "LEASEKEEPER_ADMIN"}
"""Flags with a value that are for the supervisor, and their variables."""
_PASSING = "--actions-over-http"
_SURFACE = {
    "--admin-hosts": "LEASEKEEPER_ADMIN_HOSTS",
    "--admin-token": "LEASEKEEPER_ADMIN_TOKEN",
    "--peers": "LEASEKEEPER_PEERS",
    _PASSING: "LEASEKEEPER_ACTIONS_OVER_HTTP",
}
"""Flags that are for whatever serves the admin surface; all have a value but `_PASSING`."""
_SHARED = {"--log-level": "LEASEKEEPER_LOG_LEVEL", "--log-format": "LEASEKEEPER_LOG_FORMAT"}
"""Flags with a value that are for both."""
_SWITCHES = ("--reload", "--local", "--supervisor", "--no-supervisor")
_OFF = ("0", "off", "no", "false")
"""Words that turn the keeper or the supervisor off by its variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The processes that are wanted.

    Attributes:
        arguments: of each process.
        count: how many.
        reload: whether to start them again when the code changes.
        local: whether to run a local SQS for them.
        admin: where to serve one admin surface for all of several processes; None: nowhere, or one process serves it.
        surface: variables for what serves it.
        level: least level to log.
        kind: form of a log line.
        keeper: whether the supervisor keeps the leases of its processes (`leasekeeper.keeper`).
    """

    arguments: tuple[str, ...]
    count: int = 1
    reload: bool = False
    local: bool = False
    admin: str | None = None
    surface: Mapping[str, str] = field(default_factory=dict)
    level: str = "info"
    kind: str = "plain"
    keeper: bool = True


def plan_of(arguments: Sequence[str], environment: Mapping[str, str]) -> Plan | None:
    """The plan; None for a run without a supervisor, for another command, for help, and for a mistake.

    One process has a supervisor where that can be its keeper, unless `--no-supervisor` says otherwise.
    """
    if arguments[:1] != ["run"] or VARIABLE in environment or _has_peers_alone(arguments, environment):
        return None
    values = {flag: environment.get(name, "") for flag, name in (_OWN | _SHARED | _SURFACE).items()}
    switches, rest, words = set[str](), ["run"], iter(arguments[1:])
    for word in words:
        flag, equals, value = word.partition("=")
        if word in {"-h", "--help"}:
            return None
        if word == "--":
            rest += [word, *words]
        elif word in _SWITCHES:
            switches.add(word)
        elif word == _PASSING:
            values[word], rest = "on", [*rest, word]
        elif flag in values:
            values[flag] = value if equals else next(words, "")
            if flag == "--processes" and not values[flag]:
                return None
            rest += [flag, values[flag]] if flag in _SHARED or flag == "--admin-token" else []
        else:
            rest.append(word)
    if "--no-supervisor" in switches or not (
        switches or values["--processes"] or (_can_keep(environment) and _is_on(environment, "LEASEKEEPER_SUPERVISOR"))
    ):
        return None
    count, level, kind = values["--processes"] or "1", values["--log-level"], values["--log-format"]
    known = level in {"", *LEVELS} and kind in {"", *FORMATS}
    if not known or not (count.isascii() and count.isdigit() and 1 <= int(count) <= MOST):
        return None
    surface = {name: values[flag] for flag, name in _SURFACE.items() if values[flag]}
    admin = values["--admin"]
    if admin and int(count) == 1:  # the only process serves it
        words_of_surface = {"--admin": admin, **{flag: values[flag] for flag in ("--admin-hosts", "--peers")}}
        rest[1:1] = [word for flag, value in words_of_surface.items() if value for word in (flag, value)]
    return Plan(
        arguments=tuple(rest),
        count=int(count),
        reload="--reload" in switches,
        local="--local" in switches,
        admin=admin if int(count) > 1 and admin else None,
        surface=surface,
        level=level or "info",
        kind=kind or "plain",
        keeper="--no-keeper" not in rest and _is_on(environment, "LEASEKEEPER_KEEPER"),
    )


def _has_peers_alone(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether peers are given, and no surface that shows them."""
    given = {word.partition("=")[0] for word in arguments}
    return "--peers" in given and "--admin" not in given and not environment.get("LEASEKEEPER_ADMIN")


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() not in _OFF


def _can_keep(environment: Mapping[str, str]) -> bool:
    """Whether this system has what a keeper needs, and another interpreter would find this package.

    It would not if this program is an archive (zipapp, shiv, pex), which puts its packages on the path itself.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    archive = "PEX" in environment or getattr(sys, "frozen", False) or (spec is not None and spec.name == "__main__")
    return hasattr(os, "memfd_create") and hasattr(os, "pidfd_open") and not archive
