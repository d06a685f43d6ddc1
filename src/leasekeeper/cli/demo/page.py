"""The demo's pages in the browser: the live page of its consumer, and the page of its SQS.

Owned by the demo. It promises that the demo runs as well without the extra `admin`, and that no message waits for it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.errors import ConfigurationError
from leasekeeper.extras import INSTALL

if TYPE_CHECKING:
    from leasekeeper.admin import AdminServer
    from leasekeeper.consumer import Consumer

PORTS = (9900, 0)
"""The usual port, or a free one."""
QUEUE_INTERVAL = 1.0
"""Seconds between two questions for the counts of the queue: the demo lasts no longer than one usual interval."""


class Pages(NamedTuple):
    """Where the pages are.

    Attributes:
        consumer: of the live page; empty while it is not there.
        queues: of the page of SQS.
        token: what the actions of the live page ask for.
    """

    consumer: str
    queues: str
    token: str = ""

    @property
    def line(self) -> str:
        """Both, a line each."""
        first = f"consumer {self.consumer}" if self.consumer else f"consumer: {INSTALL['admin']}"
        token = f" (token for its buttons: {self.token})" if self.consumer else ""
        return f"In the browser: {first}{token}\n                queue {self.queues}"


def open_live_page(consumer: Consumer, token: str) -> AdminServer | None:
    """Serve the live page; None if what it needs is not installed. Imports for some tenths of a second."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        return None
    from leasekeeper.admin import AdminServer
    from leasekeeper.cli.desk import CommandLineDesk

    for port in PORTS:
        server = AdminServer(
            consumer,
            address=f"127.0.0.1:{port}",
            token=token,
            queue_interval=QUEUE_INTERVAL,
            desk=CommandLineDesk(),
        )
        try:
            server.__enter__()
        except ConfigurationError:
            continue
        return server
    return None
