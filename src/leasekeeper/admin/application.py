"""Makes the ASGI application of the admin surface.

Owned by whatever serves it. It promises one sentence about what to install where the extra is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.admin.settings import SurfaceSettings
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.app import Leasekeeper
    from leasekeeper.consumer import Consumer


MOUNTED_STREAM = 15.0
"""Seconds that a stream lasts in a web app of others, whose server may wait for open streams when it stops."""


def admin_app(
    *targets: Leasekeeper | Consumer,
    token: str | None = None,
    peers: Sequence[str] = (),
    queue_interval: float = 30.0,
) -> Any:
    """An ASGI application with the live page, `/livez`, `/readyz`, `/statusz` and `/metrics`: serve it, or mount it.

    In a web app whose event loop also runs handlers, a handler that blocks the loop blocks these answers too;
    `AdminServer` has a thread for itself.

    Args:
        targets: the consumers and apps.
        token: what actions need, 8 characters or more; None: the surface is read-only.
        peers: other surfaces whose processes are shown too: URLs, `unix:/path`, or `dns:NAME:PORT` for all addresses
            that a name has.
        queue_interval: seconds between two questions to SQS about the counts of the queues (GetQueueAttributes); 0: it
            is not asked.

    Raises:
        ConfigurationError: Starlette is not installed, or a value cannot work.
    """
    return application_of(
        targets, SurfaceSettings(token=token, peers=peers, queue_interval=queue_interval, lasts=MOUNTED_STREAM)
    )


def application_of(targets: Sequence[Leasekeeper | Consumer], settings: SurfaceSettings) -> Any:
    """The application for these targets.

    Raises:
        ConfigurationError: Starlette is not installed, or the address of a peer cannot be read.
    """
    try:
        from leasekeeper.admin.surface import surface_of
    except ModuleNotFoundError as error:
        raise missing(error) from error
    return surface_of(targets, settings)


def missing(error: ModuleNotFoundError) -> ConfigurationError:
    """The error for a library of the extra that is not installed."""
    return ConfigurationError(f"the admin surface needs {error.name}: pip install 'leasekeeper[admin]'")
