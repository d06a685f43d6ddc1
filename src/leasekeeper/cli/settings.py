"""Options from outside the code: flags, environment and TOML, all from the schema in `leasekeeper.options`.

Owned by `leasekeeper run`. It promises that a flag wins over the environment, that over the file, and the file over the
code; and that an error names the place of the value.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from leasekeeper.errors import ConfigurationError
from leasekeeper.option_checks import hint
from leasekeeper.options import Options
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML file with a [leasekeeper] table; unset, [tool.leasekeeper] of ./pyproject.toml.",
        envvar="LEASEKEEPER_CONFIG",
    ),
]
PREFIX = "LEASEKEEPER_"
_OUTSIDE = {
    "envelope": (
        "NAMES",
        "Envelopes to open: 'sns', 'eventbridge', 's3', 'cloudevents', several with commas, or 'auto'.",
    ),
    "http": ("native|aiohttp", "HTTP client: 'native', or 'aiohttp' (needs the extra of that name)."),
}
"""Values and text of options that take more in code, e.g. a function, than can be written outside it."""
_OTHERS = (
    "ACTIONS_OVER_HTTP",
    "ADMIN",
    "ADMIN_HOSTS",
    "ADMIN_TOKEN",
    "CONFIG",
    "EXIT_WHEN_EMPTY",
    "GRACE_PERIOD",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "PEERS",
    "PREPARE",
    "PROCESSES",
    "QUEUE_INTERVAL",
    "SUPERVISOR",
)
"""Variables of `leasekeeper run` that are no options."""
_NONE = "none"
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and its source, e.g. `--concurrency`, `LEASEKEEPER_CONCURRENCY`, `pyproject.toml`."""

    value: Any
    source: str


Layer: TypeAlias = "Mapping[str, Setting]"


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


def schema() -> list[OptionWords]:
    """The options that can be given outside the code, in order."""
    return [
        OptionWords(
            name=option.name,
            kind=str(option.type),
            section=option.metadata["section"],
            doc=_OUTSIDE.get(option.name, ("", option.metadata["doc"]))[1],
            metavar=_metavar(option),
            bounds=_bounds(option),
            default=_shown(option.default),
        )
        for option in dataclasses.fields(Options)
        if option.metadata["configurable"]
    ]


def _metavar(option: dataclasses.Field[Any]) -> str:
    if option.name in _OUTSIDE:
        return _OUTSIDE[option.name][0]
    if choices := option.metadata["choices"]:
        return "|".join(choices)
    if not str(option.type).startswith(("int", "float")):
        return "TEXT"
    return "SECONDS" if option.metadata["unit"] == "s" else "NUMBER"


def _bounds(option: dataclasses.Field[Any]) -> str:
    low, high = option.metadata["low"], option.metadata["high"]
    if low is None:
        return ""
    return f"{low:g} or more" if high is None else f"{low:g} to {high:.0f}"


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def from_flags(given: Mapping[str, Any]) -> Layer:
    """The settings on the command line; None stands for a flag that was not given."""
    return {
        option.name: Setting(_parsed(option, given[option.name], option.flag), option.flag)
        for option in schema()
        if given.get(option.name) not in (None, [])
    }


def from_environment(environment: Mapping[str, str]) -> Layer:
    """The settings in environment variables; an empty one counts as not set."""
    return {
        option.name: Setting(_parsed(option, environment[option.variable], option.variable), option.variable)
        for option in schema()
        if environment.get(option.variable)
    }


def misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like a misspelt option, with the option's variable. Other programs may own such names."""
    known = {option.variable for option in schema()} | {PREFIX + name for name in _OTHERS}
    found = {}
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if near:
                found[name] = near[0]
    return found


@dataclass(frozen=True, slots=True)
class RunSettings:
    """All settings from outside the code.

    Attributes:
        file: for every consumer, from a file.
        queues: for the consumer of one queue, from the same file.
        environment: variables.
        flags: the command line.
    """

    file: Layer = field(default_factory=dict)
    queues: Mapping[str, Layer] = field(default_factory=dict)
    environment: Layer = field(default_factory=dict)
    flags: Layer = field(default_factory=dict)

    @classmethod
    def read(
        cls, config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
    ) -> RunSettings:
        """Read them all; the file is `config`, or ./pyproject.toml.

        Raises:
            ConfigurationError: a file or a value that cannot be used.
        """
        file, queues = from_file(config, Path.cwd())
        return cls(file=file, queues=queues, environment=from_environment(environment), flags=from_flags(flags or {}))

    def of(self, queue: str) -> Layer:
        """The settings for the consumer of a queue, which is given by name, URL or ARN."""
        own = self.queues.get(QueueAddress.parse(queue).name, {})
        return {**self.file, **own, **self.environment, **self.flags}


def values(layer: Layer) -> dict[str, Any]:
    """The values alone."""
    return {name: setting.value for name, setting in layer.items()}


def places(layer: Layer) -> dict[str, str]:
    """Where the values come from."""
    return {name: setting.source for name, setting in layer.items()}


def blamed(error: ConfigurationError, layer: Layer) -> ConfigurationError:
    """The same error, with the sources of the options that it names."""
    text = str(error)
    named = [name for name in dict.fromkeys(re.findall(r"\b([a-z_0-9]+)=", text)) if name in layer]
    if not named:
        return error
    return ConfigurationError(f"{text} ({', '.join(f'{name} is set by {layer[name].source}' for name in named)})")


def from_file(config: Path | None, directory: Path) -> tuple[Layer, Mapping[str, Layer]]:
    """The settings of a file, for all consumers and by queue.

    They are in `[leasekeeper]` of `config`, or in `[tool.leasekeeper]` of ./pyproject.toml when there is no `config`.

    Raises:
        ConfigurationError: the file is missing or not TOML, an option is unknown, or a value is of the wrong kind.
    """
    path = config or directory / "pyproject.toml"
    if config is None and not path.is_file():
        return {}, {}
    document = _read(path)
    tool = document.get("tool", {})
    table, title = (
        (document.get("leasekeeper"), "leasekeeper")
        if config is not None
        else (tool.get("leasekeeper"), "tool.leasekeeper")
    )
    if table is None and config is not None and "leasekeeper" in tool:
        table, title = tool["leasekeeper"], "tool.leasekeeper"
    if table is None:
        if config is not None:
            raise ConfigurationError(f"{config} has no [leasekeeper] table")
        return {}, {}
    queues = table.pop("queues", {})
    if not isinstance(queues, dict) or not all(isinstance(table, dict) for table in queues.values()):
        raise ConfigurationError(f"{path.name} [{title}.queues]: give each queue a table, e.g. [{title}.queues.orders]")
    return _table(table, f"{path.name} [{title}]"), {
        name: _table(own, f"{path.name} [{title}.queues.{name}]") for name, own in queues.items()
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _table(table: Mapping[str, Any], source: str) -> Layer:
    known = {option.name: option for option in schema()}
    layer = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            code_only = name in {option.name for option in dataclasses.fields(Options)}
            why = " can be given in code only" if code_only else f" is not an option{hint(name, list(known))}"
            raise ConfigurationError(f"{source}: {key!r}{why}")
        layer[name] = Setting(_typed(known[name], value, source), source)
    return layer


def _typed(option: OptionWords, value: Any, source: str) -> Any:
    """A value of TOML, which has its own types; `Options` checks numbers and bounds."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and (value == _NONE or option.kind == "Sequence[str]"):
        return _parsed(option, value, source)
    if option.metavar == "TEXT" and not isinstance(value, (str, bool)):
        raise ConfigurationError(f"{source}: {option.name}={value!r}: must be text, in quotes")
    return value


def _parsed(option: OptionWords, given: Any, source: str) -> Any:
    if isinstance(given, bool):
        return given
    text = given if isinstance(given, str) else ",".join(given)
    if "None" in option.kind and text.lower() == _NONE:
        return None
    if option.kind == "Sequence[str]":
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if option.kind == "bool":
        if text.lower() not in _WORDS:
            raise ConfigurationError(f"{_assigned(option, text, source)}: must be true or false")
        return _WORDS[text.lower()]
    return _number(option, text, source) if option.kind.startswith(("int", "float")) else text


def _number(option: OptionWords, text: str, source: str) -> float:
    whole = option.kind.startswith("int")
    try:
        return int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        bounds = f", {option.bounds}" if option.bounds else ""
        raise ConfigurationError(f"{_assigned(option, text, source)}: must be {kind}{bounds}") from None


def _assigned(option: OptionWords, text: str, source: str) -> str:
    """`--concurrency='x'`, or with the place: `pyproject.toml [tool.leasekeeper]: concurrency='x'`."""
    return f"{source}={text!r}" if source in (option.flag, option.variable) else f"{source}: {option.name}={text!r}"


def described(layer: Layer) -> str:
    """The settings in one line, each with its source, and with no password in a URL."""
    return redacted(", ".join(f"{name}={setting.value!r} ({setting.source})" for name, setting in layer.items()))
