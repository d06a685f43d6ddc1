"""moto as a server that answers one request at a time, on a port that it chooses.

moto's own server answers in threads, and its steps have no lock: of two deletes at once one is undone, two receives at
once take the same message, and a conditional write of DynamoDB lets two callers win. SQS and DynamoDB do neither.
Run as a program, it prints its URL and serves until its input ends.
"""

from __future__ import annotations

import logging
import sys
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of moto in this process, where it is imported once."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        assert server._server is not None
        served, turn = server._server.app, threading.Lock()

        def one_at_a_time(environ: Any, start_response: Any) -> Any:
            with turn:
                return list(served(environ, start_response))

        server._server.app = one_at_a_time
        _let_others_in_while_a_receive_waits(turn)
        # Its state outlives it, for whatever serves in this process next.
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _let_others_in_while_a_receive_waits(turn: threading.Lock) -> None:
    from moto.sqs.models import Queue

    wait = Queue.__dict__.get("_wait_in_turn", Queue.wait_for_messages)

    def wait_for_messages(queue: Any, timeout: int) -> None:
        turn.release()
        try:
            wait(queue, timeout)
        finally:
            turn.acquire()

    vars_of_queue: Any = Queue
    vars_of_queue._wait_in_turn, vars_of_queue.wait_for_messages = wait, wait_for_messages


if __name__ == "__main__":
    with moto_server() as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        sys.stdin.read()
