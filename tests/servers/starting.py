"""How tests start servers as processes: on a port that nothing else takes, and so that they end with the tests."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import socket
import subprocess

PORTS = range(20_000, 30_000)
"""The system gives ports above these to sockets that ask for any, so none of them takes one of these."""
_taken: list[socket.socket] = []
_next = itertools.count(os.getpid() * 40)


def free_port() -> int:
    """A port for a server that cannot choose one itself. No other test gets it until this process ends.

    The UDP socket with the same number is the lock: TCP does not mind it, and it goes when the process ends.
    """
    for _ in PORTS:
        port = PORTS[next(_next) % len(PORTS)]
        lock = socket.socket(type=socket.SOCK_DGRAM)
        try:
            lock.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _taken.append(lock)
        return port
    raise RuntimeError(f"every port from {PORTS.start} to {PORTS.stop - 1} is taken")


def ending_with_us(*command: str, by: str = "KILL") -> list[str]:
    """The command, so that this signal ends it when the process that starts it ends, however that ends.

    `setpriv` becomes the command: both have one process id. Where there is none (it is Linux's), or one that cannot do
    this (that of BusyBox, or an old one), nothing is added.
    """
    return [*(["setpriv", "--pdeathsig", by, "--"] if can_end_with_us() else []), *command]


@functools.cache
def can_end_with_us() -> bool:
    """Whether there is a `setpriv` that can do this."""
    if shutil.which("setpriv") is None:
        return False
    tried = subprocess.run(["setpriv", "--pdeathsig", "KILL", "--", "true"], capture_output=True, check=False)
    return tried.returncode == 0
