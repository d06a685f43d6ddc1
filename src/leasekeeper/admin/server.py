"""The server of the admin surface: uvicorn on a thread and an event loop for itself.

Owned by the program that enters it, as `leasekeeper run --admin` does. It promises to answer while handlers block their
event loop, to end within `LONGEST_STOP`, whatever connections are open, and to leave signals to the program.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from leasekeeper.admin.address import DEFAULT, AddressUnusable, AdminAddress
from leasekeeper.admin.application import application_of, missing
from leasekeeper.admin.settings import SurfaceSettings
from leasekeeper.engine.host import close_loop, new_event_loop
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from leasekeeper.admin.desk import Desk
    from leasekeeper.admin.settings import Members
    from leasekeeper.app import Leasekeeper
    from leasekeeper.consumer import Consumer

log = safe_logger("leasekeeper.run")

CONNECTIONS = 256
"""Connections at once; others are answered with 503."""
RESERVE = 16
"""This many connections below that limit, a new one takes the place of the oldest that asks for nothing."""
REQUEST_GRACE = 1
"""Whole seconds that requests get to finish at the end."""
LONGEST_STOP = 3.0
"""Seconds after which the end waits no longer for the thread, which ends with the process."""


class AdminServer:
    """Serves health, statistics and metrics: `with AdminServer(app): app.run()`.

    Enter it before the start, so that a readiness probe sees the start, and leave it after the stop.

    Args:
        targets: the consumers and apps.
        address: `HOST:PORT`, or a port on 127.0.0.1; port 0 takes a free one; or `unix:/path`. Reading needs no
            authentication: whatever can reach the address can read the names of queues and handlers, counts, message
            ids, and errors.
        token: what actions need, 8 characters or more; None: the surface is read-only.
        peers: other surfaces whose processes are shown too: URLs, `unix:/path`, or `dns:NAME:PORT` for all addresses
            that a name has.
        actions_over_http: whether actions for peers of other machines, and with them the token, go over plain http too;
            otherwise only over https.
        members: the processes that are a part of this surface, as the children of a supervisor are.
        hosts: names by which browsers may ask for the page, besides addresses and this machine's name.
        name: what this process is called in the state of a fleet; None: HOST:PID.
        desk: looks at dead letters and moves them, as that of `leasekeeper run`; None: that cannot be done here.
        queue_interval: seconds between two questions to SQS about the counts of the queues (GetQueueAttributes); 0: it
            is not asked.
        processes: of this program on this machine that consume the same queues, with this one: a nearly idle one
            estimates by them what arrives.

    Raises:
        ConfigurationError: a value cannot work; at the entry: the extra `admin` is missing, or the address cannot be
            used.
    """

    def __init__(
        self,
        *targets: Leasekeeper | Consumer,
        address: str = DEFAULT,
        token: str | None = None,
        peers: Sequence[str] = (),
        actions_over_http: bool = False,
        members: Members | None = None,
        hosts: Sequence[str] = (),
        name: str | None = None,
        desk: Desk | None = None,
        queue_interval: float = 30.0,
        processes: int = 1,
    ) -> None:
        self._targets = targets
        self._address = AdminAddress.parse(address)
        self._settings = SurfaceSettings(
            token=token,
            peers=peers,
            actions_over_http=actions_over_http,
            members=members,
            hosts=None if self._address.path else (*hosts, self._address.host),
            queue_interval=queue_interval,
            name=name,
            desk=desk,
            processes=processes,
        )
        self._server: Any = None
        self._app: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._inode = 0

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:9900`, or `unix:/path`."""
        return self._address.url

    def __enter__(self) -> Self:
        try:
            import uvicorn

            from leasekeeper.admin.connection_limit import protocol_for
        except ModuleNotFoundError as error:
            raise missing(error) from error
        app = self._app = application_of(self._targets, self._settings)
        listener = _listen(self._address)
        if self._address.path:
            self._inode = Path(self._address.path).stat().st_ino
        else:
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
            limit_concurrency=CONNECTIONS,
            http=protocol_for(CONNECTIONS - RESERVE),
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
            with suppress(OSError):  # the path may belong to the process that follows this one
                if self._address.path and Path(self._address.path).stat().st_ino == self._inode:
                    Path(self._address.path).unlink()

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
    if address.path:
        return _listen_at_path(address.path)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "another program listens there; stop it, or give another port",
            errno.EACCES: "give a port above 1023",
        }
        hint = hints.get(error.errno or 0, "give an address of this machine, such as 127.0.0.1:9900")
        why = str(error.strerror or error).partition(" (while")[0]  # Python adds the address in a form of its own
        raise AddressUnusable(f"the admin address {str(address)!r}: cannot listen: {why}; {hint}") from error


def _listen_at_path(path: str) -> socket.socket:
    """A Unix socket for this user only; what a process that died has left there is replaced."""
    listener, place = socket.socket(socket.AF_UNIX), Path(path)
    try:
        if place.is_socket():
            place.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen()
    except OSError as error:
        listener.close()
        raise AddressUnusable(
            f"the admin address 'unix:{path}': cannot listen: {error.strerror or error}; give a path of at most 100 "
            "characters in a folder that this user may write to"
        ) from error
    return listener
