"""The layout of `--help`: options in sections, each under its flag, in plain text.

Used by every command. It promises that no flag is cut at any width of the terminal, and that a bracket in a help text
is a bracket.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from leasekeeper.cli.mistakes import refuse_endless

INDENT, DEEPER = "  ", " " * 6
NARROWEST, WIDEST = 30, 100
"""Columns that a help text uses, less and more than the terminal has."""


class HelpfulCommand(TyperCommand):
    """A command: its help lists the options by their `rich_help_panel`."""

    def get_help(self, ctx: Any) -> str:
        """The help for the terminal as it is now."""
        ctx.terminal_width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
        return TyperCommand.get_help(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a number is finite."""
        rest: list[str] = TyperCommand.parse_args(self, ctx, args)
        refuse_endless(ctx)
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the command's name in the usage line."""
        arguments = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == "argument"]
        return ["[OPTIONS]", *(str(argument.metavar) for argument in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; each text goes under its flag, so that it has the whole width."""
        sections: dict[str, list[Any]] = {}
        for parameter in self.get_params(ctx):
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            title = getattr(parameter, "rich_help_panel", None) or usual
            sections.setdefault(title, []).append(parameter)
        for title, parameters in sections.items():
            formatter.write(f"\n{typer.style(title, bold=True)}\n")
            for parameter in parameters:
                formatter.write(f"{INDENT}{typer.style(_flags(parameter), fg='cyan')}\n")
                facts = "; ".join(filter(None, _facts(parameter)))
                text = (getattr(parameter, "help", None) or "") + (f" [{facts}]" if facts else "")
                formatter.write(_indented(text, formatter.width))


def _flags(parameter: Any) -> str:
    """`-n, --count NUMBER`, `--wait / --no-wait`, or an argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted(parameter.opts, key=len))
    others = f" / {', '.join(parameter.secondary_opts)}" if parameter.secondary_opts else ""
    return names + others + (f" {parameter.metavar}" if parameter.metavar else "")


def _facts(parameter: Any) -> list[str]:
    """The default and the environment variable."""
    default, shown = parameter.default, ""
    if isinstance(default, bool):
        shown = ("on" if default else "off") if parameter.secondary_opts else ""
    elif isinstance(default, int | float | str):
        shown = default if isinstance(default, str) else f"{default:g}"
    return [f"default: {shown}" if shown else "", f"variable: {parameter.envvar}" if parameter.envvar else ""]


class HelpfulGroup(TyperGroup):
    """The program: its help lists each command with one sentence."""

    def get_help(self, ctx: Any) -> str:
        """As a command's."""
        return HelpfulCommand.get_help(cast("HelpfulCommand", self), ctx)

    def sentence(self, name: str) -> str:
        """What the command of that name does."""
        raise NotImplementedError

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands before the options: they are what a reader looks for."""
        formatter.write(f"\n{typer.style('Commands', bold=True)}\n")
        for name in self.list_commands(ctx):
            formatter.write(f"{INDENT}{typer.style(name, fg='cyan')}\n")
            formatter.write(_indented(self.sentence(name), formatter.width))
        HelpfulCommand.format_options(cast("HelpfulCommand", self), ctx, formatter)


def _indented(text: str, width: int) -> str:
    wrapped = textwrap.fill(
        text, width, initial_indent=DEEPER, subsequent_indent=DEEPER, break_long_words=False, break_on_hyphens=False
    )
    return f"{wrapped}\n"
