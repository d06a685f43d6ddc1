"""A mistake in the arguments as one sentence: which flag, with which value, and what it may be.

Used by the program, in place of the boxes and words of typer, click and pydantic. It works with the exceptions of each
version of typer, which raises its own classes or those of click.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_args

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for every mistake in the arguments."""


def refuse_endless(context: Any) -> None:
    """Refuse `nan` and `inf`, which Python reads as numbers."""
    for parameter in context.command.get_params(context):
        value = context.params.get(parameter.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter("not finite", ctx=context, param=parameter)


def sentence(error: Any, arguments: Sequence[str], commands: Sequence[str], function: Callable[..., Any] | None) -> str:
    """What is wrong, and where the help is.

    Args:
        error: what typer raised.
        arguments: of the program.
        commands: the names of all commands.
        function: the command; None when there is none of that name.
    """
    program = "leasekeeper" if function is None else f"leasekeeper {arguments[0]}"
    what = _what(error, arguments if function is None else arguments[1:], commands, function)
    return f"{what}{'' if what.endswith('?') else '.'} See {program} --help"


def _what(error: Any, arguments: Sequence[str], commands: Sequence[str], function: Callable[..., Any] | None) -> str:
    parameter, option = getattr(error, "param", None), getattr(error, "option_name", None)
    message = str(error.message).rstrip(".")
    if parameter is not None and type(error).__name__ == "MissingParameter":
        return _missing(parameter, function)
    if parameter is not None and (choices := _choices(parameter, function)):
        _, _, value = (given := _given(error.ctx, parameter, arguments)).partition("=")
        return f"{given}: must be {_one_of(choices)}{_near(value.strip(chr(39)), choices)}"
    if parameter is not None:
        return f"{_given(error.ctx, parameter, arguments)}: must be {_wanted(parameter, function) or message}"
    if function is None and arguments and not arguments[0].startswith("-"):
        return f"there is no command {arguments[0]!r}{_near(arguments[0], commands)}"
    if option is not None and type(error).__name__ == "NoSuchOption":
        known = () if error.ctx is None else [flag for each in error.ctx.command.params for flag in _flags(each)]
        return f"there is no option {option}{_near(option, known)}"
    if option is not None:  # these words are click's, of all versions
        return f"{option} {'takes no value' if 'not take' in message else 'needs a value'}"
    if "unexpected extra" in message:
        return f"{message.rpartition(' (')[2].rstrip(')')!r} is too much: {_taken(error.ctx)}"
    return message


def _missing(parameter: Any, function: Callable[..., Any] | None) -> str:
    if choices := _choices(parameter, function):
        return f"the {parameter.name} is missing: give {_one_of(choices)}"
    name, text = str(parameter.metavar or parameter.opts[-1]), getattr(parameter, "help", "") or ""
    return f"{name} is missing: {text[:1].lower()}{text[1:].rstrip('.')}"


def _choices(parameter: Any, function: Callable[..., Any] | None) -> list[str]:
    """What an argument may be; empty where it may be anything."""
    if function is None:
        return []
    kind, _ = get_args(inspect.signature(function, eval_str=True).parameters[parameter.name].annotation)
    return [str(each) for each in kind] if isinstance(kind, type) and issubclass(kind, StrEnum) else []


def _one_of(choices: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *before, last = choices
    return f"{', '.join(before)} or {last}" if before else last


def _given(context: Any, parameter: Any, arguments: Sequence[str]) -> str:
    """`--processes='0'`, or `LEASEKEEPER_PROCESSES='0'`."""
    name = str(parameter.metavar)
    flags = _flags(parameter) or [str(parameter.name) if name.islower() else name]  # in small letters: the choices
    value = context.command.make_parser(context).parse_args(args=list(arguments))[0].get(parameter.name)
    if value is not None and not isinstance(value, (list, tuple)):
        return f"{flags[0]}={value!r}"
    variable = parameter.envvar
    return f"{variable}={os.environ.get(variable, '')!r}" if value is None and variable else flags[0]


def _flags(parameter: Any) -> list[str]:
    """The flags of a parameter, the longest first; none for an argument."""
    if parameter.param_type_name == "argument":
        return []
    return sorted((*parameter.opts, *parameter.secondary_opts), key=len, reverse=True)


def _wanted(parameter: Any, function: Callable[..., Any] | None) -> str:
    """The kind and the bounds of a number, or of a switch; empty for anything else."""
    if function is None:
        return ""
    annotation = inspect.signature(function, eval_str=True).parameters[parameter.name].annotation
    kind, info = get_args(annotation)
    kinds = get_args(kind) or (kind,)
    if bool in kinds:
        return "true or false"
    if not {int, float} & set(kinds):
        return ""
    words = "a whole number" if int in kinds else "a number"
    low, high = info.min, info.max
    if low is None:
        return words
    unit = " seconds" if info.metavar == "SECONDS" else ""
    least = f"{low:g}{unit.removesuffix('s') if low == 1 else unit}"
    return f"{words}, {least} or more" if high is None else f"{words} from {low:g} to {high:.15g}{unit}"


def _taken(context: Any) -> str:
    names = [str(each.metavar) for each in context.command.params if each.param_type_name == "argument"]
    return f"{context.info_name} takes {' and '.join(names) or 'no arguments'}"


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
