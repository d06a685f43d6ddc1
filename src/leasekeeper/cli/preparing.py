"""Preparing: what a framework does before the targets of a command are imported, and with each of them.

The variable is set by a framework's own command (`manage.py leasekeeper`), so that the processes which
`leasekeeper run` starts do the same.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

PREPARE = "LEASEKEEPER_PREPARE"
"""The variable with the function, as `module:name`. It is called with None before an import, then with the target."""


def prepared() -> Callable[[Any], object]:
    """The function that prepares targets; one that does nothing where none is set.

    Raises:
        ConfigurationError: the variable names no function.
    """
    reference = os.environ.get(PREPARE)
    if not reference:
        return lambda _: None
    module, _, name = reference.partition(":")
    try:
        found: Callable[[Any], object] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{PREPARE}={reference!r}: must be module:function ({error})") from error
    return found
