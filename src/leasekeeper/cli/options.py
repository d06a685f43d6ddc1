"""`leasekeeper options`: the options of each consumer as `leasekeeper run` would set them, and where each comes from.

Owned by the command line. It takes the flags of `run`, the file and the variables, starts nothing, and shows no secret.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.cli import settings
from leasekeeper.cli.run import TargetsArgument, with_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.admin.state import OptionState

HELP = """Show the options of each consumer, and where each comes from: code, file, environment or flag.

They are those that `leasekeeper run` with the same flags would start with. Only options that are not as usual are \
shown, unless --all is given.
"""


def options(
    targets: TargetsArgument,
    *,
    config: settings.ConfigOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Show options with their default values too.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: for each queue, its options with their text and unit.")
    ] = False,
    **flags: Any,
) -> None:
    """Show the options of each consumer."""
    from leasekeeper.admin.effective import effective_options
    from leasekeeper.cli.targets import configure_all, consumers_of, load_all

    given = settings.RunSettings.read(config, os.environ, flags)
    found: dict[str, list[OptionState]] = {}
    loaded = load_all(targets)
    configure_all(loaded, given)
    for target in loaded:
        for consumer in consumers_of(target):
            shown = effective_options(consumer)
            found[consumer.address.name] = [each for each in shown if everything or each["source"] != "default"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for number, (queue, shown) in enumerate(found.items()):
        print(("\n" if number else "") + f"queue {queue}")
        for line in _lines(shown):
            print(f"  {line}")


def _lines(shown: Sequence[OptionState]) -> list[str]:
    if not shown:
        return ["all options as usual"]
    rows = [(each["name"], f"{each['value'] or 'unset'}{_unit(each)}", _source(each)) for each in shown]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}" for name, value, source in rows]


def _unit(option: OptionState) -> str:
    return f" {option['unit']}" if option["unit"] and option["value"] else ""


def _source(option: OptionState) -> str:
    """Where it comes from, e.g. `code`, or `flag --concurrency`."""
    return f"{option['source']} {option['place']}".rstrip()


def command() -> Callable[..., None]:
    """The command with the flags of `run`."""
    return with_flags(options, HELP)
