"""`leasekeeper run --admin` and `leasekeeper health` as processes, under load and with a SIGTERM."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse

Bench = Any  # of conftest.py, which tests cannot import
Command = Any
MODULE = """
    import asyncio
    import sys
    from notes import note
    from leasekeeper import Leasekeeper

    app = Leasekeeper()

    @app.consumer("orders", concurrency=4)
    async def ship(body: str) -> None:
        note("started", body)
        await asyncio.sleep({seconds})
        note("finished", body)
        note("imported", sorted({{"starlette", "uvicorn", "prometheus_client"}} & set(sys.modules)))
"""


def address_of(command: Command) -> str:
    """Where the process says that it listens."""
    command.until_it_says("admin: http://")
    found = re.search(r"admin: http://(\S+)", command.err)
    assert found is not None
    return found[1]


def get(address: str, path: str) -> tuple[int, str]:
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_term_under_load_with_the_admin_surface_in_use(shop: Bench) -> None:
    """L22, L24: nothing is left hidden, the process drains, and open connections do not keep it from its end."""
    url = shop.queue("orders")
    sent = shop.fill(url, 300)
    shop.module("shop", MODULE.format(seconds=0.5))
    command = shop.leasekeeper("run", "shop:app", "--admin", "127.0.0.1:0")
    address = address_of(command)
    host, port = address.split(":")
    idle, half = (socket.create_connection((host, int(port))) for _ in range(2))
    idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    half.sendall(b"GET /statusz HTTP/1.1\r\n")
    shop.until(lambda: len(shop.lines("finished")) >= 8, "handlers are at work")
    assert get(address, "/readyz") == (200, '{"ready":true,"reasons":[]}\n')
    assert shop.call("health", "--admin", address, "--ready").out == "ready\n"
    families = {family.name: family for family in parse(get(address, "/metrics")[1])}
    done = [each.value for each in families["leasekeeper_handled"].samples if each.labels["outcome"] == "done"]
    assert done[0] >= 4

    began = time.monotonic()
    command.signal()
    shop.until(lambda: get(address, "/readyz")[0] == 503, "it is not ready")
    assert get(address, "/livez")[0] == 200
    status = json.loads(get(address, "/statusz")[1])
    assert (status["ready"], status["consumers"][0]["statistics"]["queue"]) == (False, "orders")
    assert command.end() == 0

    assert time.monotonic() - began < 15  # half a second of handlers, 1 s for polls, 1 s for requests; slow machines
    idle.close()
    half.close()
    finished = shop.lines("finished")
    assert sorted(shop.lines("started")) == sorted(finished)
    assert shop.counts(url) == (len(sent) - len(finished), 0)
    assert "Traceback" not in command.err
    assert "uvicorn" not in command.err


def test_a_handler_that_blocks_the_main_thread_leaves_it_alive(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 1)
    code = MODULE.format(seconds=3600).replace("await asyncio.sleep", "__import__('time').sleep")
    shop.module("shop", code)
    command = shop.leasekeeper("run", "shop:app", LEASEKEEPER_ADMIN="127.0.0.1:0")
    address = address_of(command)
    shop.until(lambda: shop.lines("started"), "a handler blocks")
    assert get(address, "/livez")[0] == 200
    alive = shop.call("health", "--admin", address)
    assert (alive.out, alive.err, alive.code) == ("alive\n", "", 0)


def test_without_the_flag_nothing_of_it_is_imported(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module("shop", MODULE.format(seconds=0))
    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.lines("imported"), "a message is done")
    command.signal()
    assert command.end() == 0
    assert shop.lines("imported") == ["[]"]


def test_a_port_that_is_taken_ends_it_before_anything_is_received(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module("shop", MODULE.format(seconds=0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = shop.leasekeeper("run", "shop:app", "--admin", str(port))
        assert command.end() == 3
    last = command.err.splitlines()[-1]
    assert last.startswith(f"leasekeeper: the admin address '127.0.0.1:{port}': cannot listen: ")
    assert last.endswith("another program listens there; stop it, or give another port")
    assert shop.counts(url) == (1, 0)


def test_health_says_why_not(shop: Bench) -> None:
    """Exit code 1 for no, and for no answer; 2 for wrong usage."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    nothing = shop.call("health", "--admin", address)
    assert (nothing.out, nothing.code) == ("", 1)
    assert nothing.err.startswith(f"leasekeeper: no answer from http://{address}: ")
    wrong = shop.call("health", "--admin", "here")
    assert (wrong.out, wrong.code) == ("", 2)
    assert wrong.err.startswith("leasekeeper: the admin address 'here': give HOST:PORT")
