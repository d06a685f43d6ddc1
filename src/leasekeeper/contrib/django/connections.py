"""Database connections in handlers: those that are broken or too old are closed before and after each run.

Django does this around each request (`close_old_connections`). Without it a handler meets a connection that the
database has closed, and every message fails until the process starts again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import close_old_connections

from leasekeeper.app import Leasekeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.consumer import Consumer


class DjangoConnections:
    """Middleware for `def` and `async def` handlers: `Leasekeeper(middleware=[DjangoConnections()])`.

    `manage.py leasekeeper` adds it.
    """

    def for_handler(
        self,
        name: str,  # noqa: ARG002 - the protocol's, as `timeout`
        *,
        is_coroutine: bool,
        timeout: float | None,  # noqa: ARG002
    ) -> Callable[[Any, Callable[[Any], Any]], Any]:
        """The middleware for a handler."""
        return _coroutine if is_coroutine else _plain


def _plain(message: Any, call_next: Callable[[Any], Any]) -> Any:
    close_old_connections()
    try:
        return call_next(message)
    finally:
        close_old_connections()


async def _coroutine(message: Any, call_next: Callable[[Any], Any]) -> Any:
    close = sync_to_async(close_old_connections)  # in the thread in which the ORM's async methods run
    await close()
    try:
        return await call_next(message)
    finally:
        await close()


def prepare(target: Leasekeeper | Consumer | None = None) -> None:
    """Set Django up, if it is not yet; and let the handlers of a target have their connections looked after."""
    if not apps.ready:
        django.setup()
    if target is None:
        return
    for consumer in target.consumers if isinstance(target, Leasekeeper) else (target,):
        middleware = consumer.options.middleware
        if not any(isinstance(each, DjangoConnections) for each in middleware):
            consumer.configure({"middleware": (DjangoConnections(), *middleware)})
