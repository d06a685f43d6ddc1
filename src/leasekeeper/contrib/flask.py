"""Flask: an application context around each run of a handler, so that `current_app`, `g` and extensions work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


class FlaskContext:
    """Middleware for `def` and `async def` handlers: `Leasekeeper(middleware=[FlaskContext(flask_app)])`.

    What is torn down with the context (`teardown_appcontext`), such as a session of Flask-SQLAlchemy, is torn down
    before the message is settled.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app

    def for_handler(
        self,
        name: str,  # noqa: ARG002 - the protocol's, as `timeout`
        *,
        is_coroutine: bool,
        timeout: float | None,  # noqa: ARG002
    ) -> Callable[[Any, Callable[[Any], Any]], Any]:
        """The middleware for a handler."""
        return self._coroutine if is_coroutine else self._plain

    def _plain(self, message: Any, call_next: Callable[[Any], Any]) -> Any:
        with self._app.app_context():
            return call_next(message)

    async def _coroutine(self, message: Any, call_next: Callable[[Any], Any]) -> Any:
        with self._app.app_context():
            return await call_next(message)
