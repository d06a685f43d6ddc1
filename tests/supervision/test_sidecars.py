"""What runs beside the consumers gets the socket that its supervisor listens on."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from leasekeeper.supervision.protocol import LISTENER
from leasekeeper.supervision.sidecars import Sidecar
from leasekeeper.supervision.start import _listen

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX descriptors")]

SERVE = f"""
import os, socket
connection, _ = socket.socket(fileno=int(os.environ[{LISTENER!r}])).accept()
connection.sendall(b"served")
"""


def test_two_that_begin_at_once_never_have_the_same_port() -> None:
    with _listen(0) as first:
        wanted = first.getsockname()[1]
        with _listen(wanted) as second:
            assert second.getsockname()[1] != wanted


def test_the_socket_is_served_by_the_process_and_no_longer_held_here() -> None:
    listener = _listen(0)
    address = listener.getsockname()
    sidecar = Sidecar("it", [sys.executable, "-S", "-c", SERVE], variables={LISTENER: str(listener.fileno())})
    sidecar.listener = listener

    with socket.create_connection(address) as client:  # before there is a process
        child = sidecar.start(os.environ)
        assert client.recv(100) == b"served"
    child.ended(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))

    assert listener.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
