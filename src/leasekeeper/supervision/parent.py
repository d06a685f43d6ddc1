"""Ends a child at once when its supervisor ends, before it holds anything.

Used by the console script of a child, first of all: its own thread that listens to the supervisor starts later, and
cannot run while a module that is imported keeps the GIL. Where the system cannot do it (macOS), that thread has to do.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(*, wanted: bool) -> None:
    """Have the kernel kill this process when its parent ends, or no longer."""
    if sys.platform == "linux":
        import ctypes  # takes some milliseconds, and only children need it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if wanted else 0)


def born_of_supervisor(variable: str) -> None:
    """Die with the supervisor from now on; end now if it has ended already: then no signal would come.

    Args:
        variable: the value of the environment variable that names the connection to it.
    """
    die_with_parent(wanted=True)
    try:
        connection = socket.socket(fileno=os.dup(int(variable.partition(":")[0])))
    except (OSError, ValueError):
        return
    with connection:
        try:
            over = not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            over = False
        except OSError:
            over = True
    if over:
        os._exit(0)
