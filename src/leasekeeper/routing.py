"""Which messages a handler takes, where a queue has several handlers: `@app.consumer("orders", when=...)`.

    from leasekeeper.routing import attribute, field

    @app.consumer("orders", when=attribute("type") == "created")
    @app.consumer("orders", when=field("detail.type") == "cancelled")

A condition sees the message as it was sent: its attributes, and its body as JSON, which is parsed once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.functions import is_plain_function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.message import Message, MessageAttribute


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What stands for an attribute or a field that a message does not have."""


class Content:
    """What conditions see of one message. Its body is parsed when the first of them asks for a field."""

    __slots__ = ("_attributes", "_body", "_inside", "_make_message")

    def __init__(
        self, body: str, attributes: Mapping[str, MessageAttribute], make_message: Callable[[], Message[str]]
    ) -> None:
        self._body = body
        self._attributes = attributes
        self._make_message = make_message
        self._inside: dict[tuple[str, ...], Any] = {}
        """What was parsed: the body, and JSON texts inside of it, by their paths."""

    def message(self) -> Message[str]:
        """The message, with its body as text."""
        return self._make_message()

    def attribute(self, name: str) -> Any:
        """The value of a message attribute: a number for the type `Number`, else text or bytes."""
        found = self._attributes.get(name)
        if found is None:
            return MISSING
        return _number(found.value) if found.data_type.startswith("Number") else found.value

    def field(self, path: tuple[str, ...]) -> Any:
        """The value at a path in the body; also in a JSON text inside of it, as SNS puts the message into one."""
        value = self._parsed((), self._body)
        for depth, name in enumerate(path):
            if isinstance(value, str):
                value = self._parsed(path[:depth], value)
            if isinstance(value, dict):
                value = value.get(name, MISSING)
            elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            else:
                return MISSING
        return value

    def _parsed(self, path: tuple[str, ...], text: str) -> Any:
        if path not in self._inside:
            try:
                self._inside[path] = msgspec.json.decode(text)
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                self._inside[path] = MISSING
        return self._inside[path]


def _number(value: str | bytes) -> Any:
    """The number that a `Number` attribute's text says; the text if it says none."""
    try:
        return float(value)
    except ValueError:
        return value


class Condition:
    """Whether a handler takes a message. Conditions combine: `one & other`, `one | other`, `~one`.

    Made by `attribute` and `field`; a function of a `Message[str]` that returns a bool can stand for one.
    """

    def __init__(
        self,
        matches: Callable[[Content], object],
        description: str,
        *,
        functions: tuple[object, ...] = (),
        attributes: frozenset[str] = frozenset(),
    ) -> None:
        self.matches = matches
        """Whether it holds for a message, as `if` takes it."""
        self._description = description
        self._functions = functions
        """The functions in it, which its description names but does not tell apart."""
        self.attributes = attributes
        """The message attributes that it asks for, as far as is known."""

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two conditions that hold for the same messages, as far as can be known."""
        return (self._description, *map(id, self._functions))

    def __and__(self, other: When) -> Condition:
        right = condition_of(other)
        return self._with(right, partial(_both, self.matches, right.matches), f"({self} & {right})")

    def __or__(self, other: When) -> Condition:
        right = condition_of(other)
        return self._with(right, partial(_either, self.matches, right.matches), f"({self} | {right})")

    def __invert__(self) -> Condition:
        return self._with(self, partial(_not, self.matches), f"~{self}")

    def _with(self, other: Condition, matches: Callable[[Content], object], description: str) -> Condition:
        return Condition(
            matches,
            description,
            functions=(*self._functions, *other._functions),
            attributes=self.attributes | other.attributes,
        )

    def __bool__(self) -> bool:
        raise TypeError(f"{self} has no truth before there is a message: combine conditions with & | ~, not and or not")

    def __repr__(self) -> str:
        return self._description


When = Condition | Callable[["Message[str]"], object]
"""What `when=` takes: a condition, or a function of the message."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a message that can be compared: `attribute(...)` or `field(...)`.

    A message without it equals nothing: `==`, `any_of` and `startswith` are false, and `!=` is true.
    """

    _find: Callable[[Content], Any]
    _description: str
    _attributes: frozenset[str] = frozenset()

    def _that(self, holds: Callable[[Any], bool], description: str) -> Condition:
        return Condition(partial(_holds, holds, self._find), description, attributes=self._attributes)

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return self._that(partial(_equal, value), f"{self} == {value!r}")

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return self._that(partial(_differs, value), f"{self} != {value!r}")

    __hash__ = None  # type: ignore[assignment]  # `==` does not compare parts

    def any_of(self, *values: object) -> Condition:
        """Whether it is one of these values.

        Raises:
            ConfigurationError: a collection is given in place of its values.
        """
        if len(values) == 1 and isinstance(values[0], list | tuple | set | frozenset):
            raise ConfigurationError(
                f"{self}.any_of({values[0]!r}): give the values themselves, e.g. {self}.any_of('created', 'changed')"
            )
        shown = ", ".join(map(repr, values))
        return self._that(partial(_is_one_of, values), f"{self}.any_of({shown})")

    def startswith(self, prefix: str) -> Condition:
        """Whether it is text that begins with `prefix`."""
        return self._that(partial(_starts_with, prefix), f"{self}.startswith({prefix!r})")

    def exists(self) -> Condition:
        """Whether the message has it, with whatever value; JSON's null is one."""
        return self._that(_is_there, f"{self}.exists()")

    def __repr__(self) -> str:
        return self._description


# What conditions are made of: functions with names, because conditions are pickled for worker processes.


def _both(left: Callable[[Content], object], right: Callable[[Content], object], content: Content) -> object:
    return left(content) and right(content)


def _either(left: Callable[[Content], object], right: Callable[[Content], object], content: Content) -> object:
    return left(content) or right(content)


def _not(matches: Callable[[Content], object], content: Content) -> object:
    return not matches(content)


def _asks(when: Callable[[Message[str]], object], content: Content) -> object:
    return when(content.message())


def _holds(holds: Callable[[Any], bool], find: Callable[[Content], Any], content: Content) -> bool:
    return holds(find(content))


def _equal(value: object, found: Any) -> bool:
    """Whether they are equal, for JSON too, where `true` is not 1."""
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)


def _differs(value: object, found: Any) -> bool:
    return not _equal(value, found)


def _is_one_of(values: tuple[object, ...], found: Any) -> bool:
    return any(_equal(value, found) for value in values)


def _starts_with(prefix: str, found: Any) -> bool:
    return isinstance(found, str) and found.startswith(prefix)


def _is_there(found: Any) -> bool:
    return found is not MISSING


def attribute(name: str) -> Part:
    """The message attribute of that name: text, bytes, or a number for the type `Number`.

    The option `message_attributes` must fetch it, as its default does.

    Raises:
        ConfigurationError: the name is not text.
    """
    _check_names("attribute", name)
    return Part(methodcaller("attribute", name), f"attribute({name!r})", frozenset((name,)))


def field(*path: str) -> Part:
    """The field of a JSON body at a path: `field("detail.type")`, or `field("detail", "type")` for names with dots.

    A number in the path is an index of a list: `field("Records.0.eventName")`. A path also leads into JSON that the
    body contains as a text, as SNS envelopes do: `field("Message.type")`. A body that is not JSON has no fields.

    Raises:
        ConfigurationError: a part of the path is not text.
    """
    _check_names("field", *path)
    parts = tuple(path[0].split(".")) if len(path) == 1 else path
    return Part(methodcaller("field", parts), f"field({', '.join(map(repr, path))})")


def _check_names(kind: str, *names: object) -> None:
    if not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{kind}({', '.join(map(repr, names))}): names must be text, e.g. {kind}('type')")


def condition_of(when: Any) -> Condition:
    """The condition that `when=` says.

    Raises:
        ConfigurationError: it is neither a condition nor a function of one argument.
    """
    if isinstance(when, Condition):
        return when
    if isinstance(when, Part):
        raise ConfigurationError(f"when={when}: compare it, e.g. when={when} == 'created' or when={when}.exists()")
    if not is_plain_function(when, 1):
        raise ConfigurationError(
            f"when={when!r}: must be a condition, e.g. attribute('type') == 'created', or a plain function of the "
            "message, with one argument"
        )
    name = getattr(when, "__qualname__", type(when).__qualname__)
    return Condition(partial(_asks, when), name, functions=(when,))
