"""Makes the ASGI application of the admin surface.

Owned by whatever serves it. It promises one sentence about what to install where the extra is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from leasekeeper.app import Leasekeeper
    from leasekeeper.consumer import Consumer


def admin_app(*targets: Leasekeeper | Consumer) -> Any:
    """An ASGI application with `/livez`, `/readyz`, `/healthz`, `/statusz` and `/metrics`: serve it, or mount it.

    In a web app whose event loop also runs handlers, a handler that blocks the loop blocks these answers too;
    `AdminServer` has a thread for itself.

    Args:
        targets: the consumers and apps.

    Raises:
        ConfigurationError: Starlette is not installed.
    """
    try:
        from leasekeeper.admin.surface import surface_of
    except ModuleNotFoundError as error:
        raise missing(error) from error
    return surface_of(targets)


def missing(error: ModuleNotFoundError) -> ConfigurationError:
    """The error for a library of the extra that is not installed."""
    return ConfigurationError(f"the admin surface needs {error.name}: pip install 'leasekeeper[admin]'")
