"""Options as they are given: values by name, which may be wrong.

Used by what takes keyword arguments for a consumer. It promises that all mistakes are reported at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.option_checks import hint
from leasekeeper.options import FIELDS, Options, check_option
from leasekeeper.share import Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def make_options(values: Mapping[str, Any]) -> Options:
    """Options from keyword values.

    Raises:
        ConfigurationError: unknown names (the sentence suggests the right one), values out of bounds, or values that
            cannot work together.
    """
    with GivenOptions(values) as given:
        return given.options


class GivenOptions(Mistakes):
    """Options from keyword values that may be wrong, so that all that is wrong with a declaration is said at once.

    Args:
        values: by name.
        given: all options as one object, in place of values.

    Attributes:
        named: the names of the values.
        options: with the values that can be, also where they cannot work together.
    """

    def __init__(self, values: Mapping[str, Any], given: Options | None = None) -> None:
        super().__init__()
        self.named = frozenset(values)
        self._left_out: frozenset[str] = frozenset()
        self.add(_unknown(values))
        if given is not None and values:
            names = ", ".join(sorted(values))
            self.add([f"options= together with {names}: give either an Options object or single options"])
        right = {name: value for name, value in values.items() if name in FIELDS and self._takes(name, value)}
        self._left_out = frozenset(values.keys() - right.keys())
        if isinstance(share := right.get("share"), Share) and "concurrency" not in values:
            right["concurrency"] = share.concurrency
        if given is not None and not isinstance(given, Options):
            self.add([f"options={given!r}: must be Options(...)"])
            given = None
        self.options: Options = given or self.noted(Options, **right) or _without_rules(right)

    def _takes(self, name: str, value: Any) -> bool:
        try:
            check_option(name, value)
        except ConfigurationError as error:
            self.add(error.args)
            return False
        return True

    def add(self, sentences: Iterable[str]) -> None:
        """Note these, except those about values that were left out: that may be the only reason for them."""
        super().add(each for each in sentences if self._left_out.isdisjoint(re.findall(r"\w+", each)))


def _without_rules(values: Mapping[str, Any]) -> Options:
    """Options that cannot work together, to check what else is wrong."""
    made = object.__new__(Options)
    for name, option in FIELDS.items():
        object.__setattr__(made, name, values.get(name, option.default))
    return made


def check_alone(values: Mapping[str, Any]) -> None:
    """Refuse names that no option has, and values that are wrong whatever the others are.

    Raises:
        ConfigurationError: with the names that were probably meant, and the bounds of the values.
    """
    with Mistakes() as mistakes:
        mistakes.add(_unknown(values))
        for name, value in values.items():
            if name in FIELDS:
                mistakes.noted(check_option, name, value)


def _unknown(values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each name that no option has."""
    known = list(FIELDS)
    return (f"unknown option {name!r}{hint(name, known)}" for name in values if name not in FIELDS)
