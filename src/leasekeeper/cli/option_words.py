"""An option outside the code: its words, and its values as texts of flags and variables, or as TOML.

Used by `cli/settings.py`. Bounds are checked by `leasekeeper.options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leasekeeper.errors import ConfigurationError

PREFIX = "LEASEKEEPER_"
_NONE = "none"
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionWords:
    """An option as a flag: its name, its kind, and the words of its help."""

    name: str
    kind: str
    section: str
    doc: str
    metavar: str
    bounds: str
    default: str | None

    @property
    def flag(self) -> str:
        """Its flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()

    @property
    def help(self) -> str:
        """Its text for `--help`."""
        facts = "; ".join(filter(None, [f"default: {self.default}" if self.default is not None else "", self.bounds]))
        return f"{self.doc} [{facts}]" if facts else self.doc


def typed(option: OptionWords, value: Any, source: str) -> Any:
    """A value of TOML, which has its own types; `Options` checks numbers and bounds."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and (value == _NONE or option.kind == "Sequence[str]"):
        return parsed(option, value, source)
    if option.metavar == "TEXT" and not isinstance(value, (str, bool)):
        raise ConfigurationError(f"{source}: {option.name}={value!r}: must be text, in quotes")
    return value


def parsed(option: OptionWords, given: Any, source: str) -> Any:
    """The value that a text stands for, or several texts; a switch is one already."""
    if isinstance(given, bool):
        return given
    text = given if isinstance(given, str) else ",".join(given)
    if "None" in option.kind and text.lower() == _NONE:
        return None
    if option.kind == "Sequence[str]":
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if option.kind == "bool":
        if text.lower() not in _WORDS:
            raise ConfigurationError(f"{assigned(option, text, source)}: must be true or false")
        return _WORDS[text.lower()]
    return _number(text, whole=option.kind.startswith("int")) if option.kind.startswith(("int", "float")) else text


def _number(text: str, *, whole: bool) -> float | str:
    """The number; the text itself if it is none, which the check of the option refuses."""
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return text


def assigned(option: OptionWords, text: object, source: str) -> str:
    """`--concurrency='x'`, or with the place: `pyproject.toml [tool.leasekeeper]: concurrency='x'`."""
    return f"{source}={text!r}" if source in (option.flag, option.variable) else f"{source}: {option.name}={text!r}"
