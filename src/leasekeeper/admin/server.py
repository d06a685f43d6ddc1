"""The server of the admin surface: uvicorn on a thread and an event loop for itself.

Owned by the program that enters it, as `leasekeeper run --admin` does. It promises to answer while handlers block their
event loop, to end within `LONGEST_STOP`, whatever connections are open, and to leave signals to the program.
"""

from __future__ import annotations

import errno
import math
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from leasekeeper.admin.address import DEFAULT, AdminAddress
from leasekeeper.admin.application import admin_app, missing
from leasekeeper.engine.host import close_loop, new_event_loop
from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    import asyncio

    from leasekeeper.app import Leasekeeper
    from leasekeeper.consumer import Consumer

log = safe_logger("leasekeeper.run")

REQUEST_GRACE = 1
"""Whole seconds that requests get to finish at the end."""
LONGEST_STOP = 3.0
"""Seconds after which the end waits no longer for the thread, which ends with the process."""


class AdminServer:
    """Serves health, statistics and metrics: `with AdminServer(app): app.run()`.

    Enter it before the start, so that a readiness probe sees the start, and leave it after the stop.

    Args:
        targets: the consumers and apps.
        address: `HOST:PORT`, or a port on 127.0.0.1; port 0 takes a free one. There is no authentication: whatever can
            reach the address can read the names of queues and handlers, counts, and errors of SQS.

    Raises:
        ConfigurationError: at the entry: the extra `admin` is missing, the address is malformed, or cannot be used.
    """

    def __init__(self, *targets: Leasekeeper | Consumer, address: str = DEFAULT) -> None:
        self._targets = targets
        self._address = AdminAddress.parse(address)
        self._server: Any = None
        self._app: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:9900`."""
        return f"http://{self._address}"

    def __enter__(self) -> Self:
        try:
            import uvicorn
        except ModuleNotFoundError as error:
            raise missing(error) from error
        app = self._app = admin_app(*self._targets)
        app.state.lasts = math.inf
        listener = _listen(self._address)
        self._address = self._address._replace(port=listener.getsockname()[1])
        # Without a log configuration uvicorn leaves the program's logging as it is.
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=REQUEST_GRACE,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, args=[listener], name="leasekeeper-admin", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            if self._loop is not None:
                with suppress(RuntimeError):  # it has ended already
                    self._loop.call_soon_threadsafe(self._app.state.watch.close)
            self._thread.join(LONGEST_STOP)

    def _run(self, listener: socket.socket) -> None:
        loop = self._loop = new_event_loop()
        loop.call_soon(self._app.state.watch.begin)
        try:
            with listener:
                loop.run_until_complete(self._server.serve(sockets=[listener]))
        except Exception:  # a bug of the server's must not look like one of the consumers
            log.exception("the admin server on %s has ended; consumers go on", self.url)
        finally:
            close_loop(loop, within=REQUEST_GRACE)

    def __repr__(self) -> str:
        alive = self._thread is not None and self._thread.is_alive()
        return f"<AdminServer {self.url} {'running' if alive else 'stopped'}>"


def _listen(address: AdminAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        hint = (
            "another program listens there; stop it, or give another port"
            if error.errno == errno.EADDRINUSE
            else "give an address of this machine, such as 127.0.0.1:9900"
        )
        raise ConfigurationError(f"admin={str(address)!r}: cannot listen: {error.strerror or error}; {hint}") from error
