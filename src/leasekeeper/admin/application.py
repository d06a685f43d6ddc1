"""Makes the ASGI application of the admin surface.

Owned by whatever serves it. It promises one sentence about what to install where the extra is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.admin.settings import SurfaceSettings
from leasekeeper.errors import ConfigurationError
from leasekeeper.extras import needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.app import Leasekeeper
    from leasekeeper.consumer import Consumer


MOUNTED_STREAM = 15.0
"""Seconds that a stream lasts in a web app of others, whose server may wait for open streams when it stops."""


def admin_app(
    *targets: Leasekeeper | Consumer,
    token: str | None = None,
    hosts: Sequence[str] | None = (),
    peers: Sequence[str] = (),
    actions_over_http: bool = False,
    queue_interval: float = 30.0,
) -> Any:
    """An ASGI application with the live page, `/livez`, `/readyz`, `/statusz` and `/metrics`: serve it, or mount it.

    In a web app whose event loop also runs handlers, a handler that blocks the loop blocks these answers too;
    `AdminServer` has a thread for itself.

    Args:
        targets: the consumers and apps.
        token: what actions need, 8 characters or more; None: the surface is read-only.
        hosts: names by which browsers may ask for the page, besides addresses and this machine's name, e.g. that of
            your web app. None: any name, for a web app that refuses other names by itself.
        peers: other surfaces whose processes are shown too: URLs, `unix:/path`, or `dns:NAME:PORT` for all addresses
            that a name has.
        actions_over_http: whether actions for peers of other machines, and with them the token, go over plain http too;
            otherwise only over https.
        queue_interval: seconds between two questions to SQS about the counts of the queues (GetQueueAttributes); 0: it
            is not asked.

    Raises:
        ConfigurationError: Starlette is not installed, or a value cannot work.
    """
    settings = SurfaceSettings(
        token=token,
        hosts=hosts,
        peers=peers,
        actions_over_http=actions_over_http,
        queue_interval=queue_interval,
        lasts=MOUNTED_STREAM,
    )
    return application_of(targets, settings)


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
    return ConfigurationError(needs("the admin surface", error.name, "admin"))
