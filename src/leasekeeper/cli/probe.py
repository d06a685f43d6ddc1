"""Asks a running process over HTTP whether it lives, or is ready: what `leasekeeper health` does.

Owned by the command line. A container runtime may start it every few seconds, so it imports little more than sockets.
It goes through no proxy.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import TYPE_CHECKING

from leasekeeper.cli.errors import say
from leasekeeper.cli.words import printable_lines
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from leasekeeper.admin.address import AdminAddress

LONGEST = 65_536
"""Bytes of an answer that are read."""


def probe(address: AdminAddress, *, ready: bool, timeout: float) -> Exit:
    """Print one line; returns the exit code that says what the process at the address answered."""
    where = address.reachable
    try:
        status, body = _get(where, "/readyz" if ready else "/livez", timeout)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        say(f"no answer from http://{where}: {why}; is the process running there, with --admin?")
        return Exit.FAILED
    if status == 404:
        say(f"what answers at http://{where} is no admin surface of Leasekeeper: give its address with --admin")
        return Exit.FAILED
    if status != 200:
        say(f"{'not ready' if ready else 'not alive'}: {_reasons(body) or f'HTTP status {status}'}")
        return Exit.FAILED
    print("ready" if ready else "alive")
    sys.stdout.flush()
    return Exit.CLEAN


def _get(address: AdminAddress, path: str, timeout: float) -> tuple[int, bytes]:
    """Status and body of an answer; raises `OSError` without one, and `ValueError` for one that is not HTTP."""
    until, answer = time.monotonic() + timeout, b""
    with socket.create_connection((address.host, address.port), timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        while len(answer) < LONGEST:
            connection.settimeout(max(0.001, until - time.monotonic()))
            part = connection.recv(LONGEST)
            if not part:
                break
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("it closed the connection" if not answer else "it does not speak HTTP")
    return int(words[1]), body


def _reasons(body: bytes) -> str:
    """The reasons in an answer; empty where it is not one of ours."""
    try:
        reasons = json.loads(body)["reasons"]
        return printable_lines("; ".join(map(str, reasons)))
    except (ValueError, KeyError, TypeError):
        return ""
