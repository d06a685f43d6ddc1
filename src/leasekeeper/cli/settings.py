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

from leasekeeper.cli.option_words import PREFIX, OptionWords, assigned, parsed, typed
from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.given_options import check_alone
from leasekeeper.option_checks import hint
from leasekeeper.options import Options
from leasekeeper.sqs.address import QueueAddress, check_place
from leasekeeper.sqs.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML file with a [leasekeeper] table; unset, [tool.leasekeeper] of ./pyproject.toml.",
        envvar="LEASEKEEPER_CONFIG",
    ),
]
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


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and its source, e.g. `--concurrency`, `LEASEKEEPER_CONCURRENCY`, `pyproject.toml`."""

    value: Any
    source: str


Layer: TypeAlias = "Mapping[str, Setting]"


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
    return _layer(
        (option, given[option.name], option.flag) for option in schema() if given.get(option.name) not in (None, [])
    )


def from_environment(environment: Mapping[str, str]) -> Layer:
    """The settings in environment variables; an empty one counts as not set."""
    return _layer(
        (option, environment[option.variable], option.variable)
        for option in schema()
        if environment.get(option.variable)
    )


def _layer(given: Iterable[tuple[OptionWords, Any, str]]) -> Layer:
    """The options, each given as a text from a source."""
    with Mistakes() as mistakes:
        return {option.name: _setting(mistakes, parsed, option, text, place) for option, text, place in given}


def _setting(
    mistakes: Mistakes, read: Callable[[OptionWords, Any, str], Any], option: OptionWords, given: Any, source: str
) -> Setting:
    """One setting; what is wrong with it whatever the others are is noted."""
    try:
        setting = Setting(read(option, given, source), source)
    except ConfigurationError as error:
        mistakes.add(error.args)
        return Setting(None, source)
    try:
        check_alone({option.name: setting.value})
        check_place(option.name, setting.value)
    except ConfigurationError as error:
        mistakes.add(_at_its_place(text, option, setting, given) for text in error.args)
    return setting


def _at_its_place(text: str, option: OptionWords, setting: Setting, given: Any) -> str:
    """`wait_time=99.0: must be ...` as `--wait-time='99': must be ...`: the words of the place."""
    value = f"{option.name}={setting.value!r}"
    if text.startswith(value):
        return assigned(option, given, setting.source) + text.removeprefix(value)
    return f"{text} ({option.name} is set by {setting.source})"


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
        with Mistakes() as mistakes:
            file, queues = mistakes.noted(from_file, config, Path.cwd()) or ({}, {})
            variables = mistakes.noted(from_environment, environment) or {}
            given = mistakes.noted(from_flags, flags or {}) or {}
        return cls(file=file, queues=queues, environment=variables, flags=given)

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
    return ConfigurationError(*(_with_sources(text, layer) for text in error.args))


def _with_sources(text: str, layer: Layer) -> str:
    named = [name for name in dict.fromkeys(re.findall(r"\b([a-z_0-9]+)=", text)) if name in layer]
    return f"{text} ({', '.join(f'{name} is set by {layer[name].source}' for name in named)})" if named else text


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
    with Mistakes() as mistakes:
        general = mistakes.noted(_table, table, f"{path.name} [{title}]")
        own = {
            each: mistakes.noted(_table, its, f"{path.name} [{title}.queues.{each}]") for each, its in queues.items()
        }
    return general or {}, {each: its or {} for each, its in own.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows write a mark in front
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _table(table: Mapping[str, Any], source: str) -> Layer:
    known = {option.name: option for option in schema()}
    layer = {}
    with Mistakes() as mistakes:
        for key, value in table.items():
            name = key.replace("-", "_")
            if name in known:
                layer[name] = _setting(mistakes, typed, known[name], value, source)
                continue
            code_only = name in {option.name for option in dataclasses.fields(Options)}
            why = " can be given in code only" if code_only else f" is not an option{hint(name, list(known))}"
            mistakes.add([f"{source}: {key!r}{why}"])
    return layer


def described(layer: Layer) -> str:
    """The settings in one line, each with its source, and with no password in a URL."""
    return redacted(", ".join(f"{name}={setting.value!r} ({setting.source})" for name, setting in layer.items()))
