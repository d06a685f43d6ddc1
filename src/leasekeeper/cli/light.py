"""Commands that run often and do little, answered without typer: `leasekeeper --version`, `leasekeeper health`.

Owned by the console script. typer alone takes eight times as long to import as Python takes to start. What is not in
the usual form here, and every mistake, goes to the program, which has the words for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

TIMEOUT = 8.0
"""Seconds that `health` waits for an answer, unless it is told another time."""


def answer(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Run the command; its exit code, or None when it is not one of these."""
    if list(arguments) == ["--version"]:
        from leasekeeper import __version__

        print(f"leasekeeper {__version__}")
        return 0
    if arguments[:1] == ["health"]:
        given = flags(arguments[1:], values=("--admin", "--timeout"), switches=("--ready",))
        return None if given is None else _health(given, environment)
    return None


def _health(given: Mapping[str, str], environment: Mapping[str, str]) -> int | None:
    from leasekeeper.admin.address import DEFAULT, AdminAddress
    from leasekeeper.cli.probe import probe
    from leasekeeper.errors import ConfigurationError

    try:
        address = AdminAddress.parse(given.get("--admin") or environment.get("LEASEKEEPER_ADMIN") or DEFAULT)
        timeout = float(given.get("--timeout", TIMEOUT))
    except (ConfigurationError, ValueError):
        return None
    return probe(address, ready="--ready" in given, timeout=timeout) if 0.1 <= timeout <= 1e6 else None


def flags(arguments: Sequence[str], *, values: Collection[str], switches: Collection[str]) -> dict[str, str] | None:
    """The flags that are given, `--name VALUE` or `--name=VALUE`; None when there is anything else."""
    given, words = dict[str, str](), iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word in switches:
            given[word] = ""
        elif name in values and (equals or (value := next(words, ""))):
            given[name] = value
        else:
            return None
    return given
