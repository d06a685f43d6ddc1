"""Sidecars: what the supervisor runs beside the consumers: a local SQS, the admin surface of all.

Owned by the supervisor. It promises that consumers start after them, and to stop them after the last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leasekeeper.supervision.child import Child

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

PAUSE = 1.0
"""Seconds before one that has ended is started again."""


@dataclass(slots=True)
class Sidecar:
    """A process beside the consumers.

    Attributes:
        name: what it is, for the log.
        command: what it runs.
        again: whether to start it again when it ends; if not, its end stops all.
        waits: whether it starts only when a process has read its targets and options: a mistake in them starts nothing.
        variables: for its environment, beside the supervisor's.
        listener: a socket that it gets, and that is closed here then.
        child: its process, while there is one.
        start_at: when it is started again.
    """

    name: str
    command: Sequence[str]
    again: bool = False
    waits: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    listener: socket.socket | None = None
    child: Child | None = None
    start_at: float | None = None

    def start(self, environment: Mapping[str, str]) -> Child:
        """Start it.

        Raises:
            OSError: the process cannot be made.
        """
        self.start_at, self.waits = None, False
        inherits = () if self.listener is None else (self.listener.fileno(),)
        self.child = Child(self.command, {**environment, **self.variables}, inherits=inherits)
        if self.listener is not None:
            self.listener.close()  # who connects is refused when its process has ended
        return self.child
