"""Functions that users give as options: whether they can be called where they are needed.

On the ground floor: used where options are made.
"""

from __future__ import annotations

import inspect
from typing import Any


def is_plain_function(value: Any, arguments: int) -> bool:
    """Whether it can be called with so many arguments, and its call does the work: nothing would await a coroutine."""
    if not callable(value) or isinstance(value, type):
        return False
    call = getattr(value, "__call__", value)  # noqa: B004 - of an instance, to see whether it is a coroutine function
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(call):
        return False
    try:
        inspect.signature(value).bind(*(None,) * arguments)
    except ValueError:  # some built-ins have no readable signature
        return True
    except TypeError:
        return False
    return True
