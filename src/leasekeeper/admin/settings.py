"""The settings of an admin surface.

Made by `AdminServer`, `admin_app` and the command line. It promises that a token is long enough to be one.
"""

from __future__ import annotations

import ipaddress
import math
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.admin.desk import Desk
    from leasekeeper.admin.state import Process

SHORTEST_TOKEN = 8
"""Characters of a token, at least."""


class Members(Protocol):
    """The processes that are a part of a surface, as the children of a supervisor are: it speaks for them."""

    def places(self) -> Mapping[str, int]:
        """The addresses of their surfaces now, and the number of each."""
        ...

    def note(self, pid: int) -> tuple[str, float]:
        """What there is to say of the process with this id, and since when; empty for nothing."""
        ...

    def stand_in(self, number: int, last: Mapping[str, Process], *, silent: bool) -> dict[str, Process] | None:
        """What to show of the process of that number in place of an answer; None: what its surface answers.

        Args:
            number: of the process.
            last: what was heard last there, also of processes that had the number before; by their keys.
            silent: whether nothing answers there now.
        """
        ...

    async def live(self) -> list[str]:
        """Reasons why one of them does not live."""
        ...

    async def ready(self) -> list[str]:
        """Reasons why one of them does not receive messages."""
        ...

    async def status(self, query: str) -> dict[str, Any]:
        """The answer of `/statusz`."""
        ...

    async def metrics(self) -> bytes:
        """The answer of `/metrics`, in the text format."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceSettings:
    """What a surface may do, and what it shows.

    Attributes:
        token: what actions need; None: they are refused.
        peers: other surfaces whose processes are shown too.
        actions_over_http: whether actions for peers of other machines, and with them the token, go over plain http too.
        members: the processes that are a part of this surface; None: there are none.
        hosts: names that it may be asked for, besides addresses and those of this machine; None: any.
        queue_interval: seconds between two questions to SQS about the counts of the queues; 0: it is not asked.
        name: what this process is called in the state; None: HOST:PID.
        desk: looks at dead letters and moves them; None: that cannot be done here.
        processes: of this program on this machine that consume the same queues, with this one.
        lasts: seconds after which a stream ends, for its reader to come again.

    Raises:
        ConfigurationError: the token is too short, or a number is out of bounds.
    """

    token: str | None = field(default=None, repr=False)
    peers: Sequence[str] = ()
    actions_over_http: bool = False
    members: Members | None = None
    hosts: Sequence[str] | None = None
    queue_interval: float = 30.0
    name: str | None = None
    desk: Desk | None = None
    processes: int = 1
    lasts: float = math.inf

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise ConfigurationError(
                f"the admin token has {len(self.token)} characters: give {SHORTEST_TOKEN} or more, without letters "
                "beyond ASCII, e.g. from `openssl rand -hex 16`"
            )
        if not self.queue_interval >= 0:
            raise ConfigurationError(f"queue_interval={self.queue_interval!r}: must be seconds, 0 or more")

    def allows_host(self, header: str) -> bool:
        """Whether a request for this host is meant for us: a page of others could give its name our address."""
        if self.hosts is None:
            return True
        before, _, port = header.rpartition(":")
        name = (before if port.isdigit() else header).strip("[]").rstrip(".").lower()
        if name in {"localhost", socket.gethostname().lower(), *(each.lower() for each in self.hosts)}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
