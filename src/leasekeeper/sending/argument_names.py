"""Refuses an argument of a sender that it does not know, as options of consumers are refused.

Used once, around the constructor of `Sender`, whose signature stays as it is.
"""

from __future__ import annotations

from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, ParamSpec

from leasekeeper.errors import ConfigurationError
from leasekeeper.option_checks import near

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


def checks_names(init: Callable[P, None]) -> Callable[P, None]:
    """Have the constructor of a sender refuse an unknown argument with the name that was probably meant."""
    known = [name for name, each in signature(init).parameters.items() if each.kind is each.KEYWORD_ONLY]

    @wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        for name in kwargs:
            if name not in known and name != "queue":
                raise ConfigurationError(f"Sender(): unknown argument {name!r}{near(name, known)}")
        init(*args, **kwargs)

    return checked
