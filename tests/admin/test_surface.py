"""The admin surface over real sockets: uvicorn in this process, a consumer, and a local SQS."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from served import Gate, Reader, create, get, until

from leasekeeper import ConfigurationError, Consumer, Leasekeeper, events
from leasekeeper.admin import AdminServer, admin_app, surface
from leasekeeper.admin.address import AdminAddress
from leasekeeper.admin.asking import Place, ask
from leasekeeper.admin.server import CONNECTIONS
from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.observe.catalogue import CATALOGUE

if TYPE_CHECKING:
    from httpx import Response

    from leasekeeper.idempotency.api import Found
    from leasekeeper.local import LocalSqs

pytest_plugins = ["surface_fixtures"]
pytestmark = pytest.mark.slow
CANARY = "canary-6ba1d0"
PATIENCE = 30.0
"""Seconds for the end of the server on a busy machine; what it waits for takes two at most."""
PATHS = ("/livez", "/healthz", "/readyz", "/statusz", "/metrics")


def test_it_answers_before_the_start_while_it_runs_and_after_the_stop(sqs: LocalSqs) -> None:
    options = create(sqs, "a", "b")
    app = Leasekeeper(**options)

    @app.consumer("orders")
    async def ship(_body: str) -> None:
        pass

    with AdminServer(app, address="0") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert get(server, "/livez") == (200, '{"live":true,"reasons":[]}\n')
        assert get(server, "/readyz") == (503, '{"ready":false,"reasons":["orders: new"]}\n')
        status = json.loads(get(server, "/statusz")[1])
        assert status["consumers"][0]["statistics"] is None
        app.start()
        assert get(server, "/readyz") == (200, '{"ready":true,"reasons":[]}\n')
        until(lambda: json.loads(get(server, "/statusz")[1])["consumers"][0]["statistics"]["work"]["done"] == 2)
        status = json.loads(get(server, "/statusz")[1])
        assert (status["ready"], status["healthy"]) == (True, True)
        assert status["consumers"][0]["queue"] == "orders"
        assert status["consumers"][0]["handler"].endswith("ship")
        app.pause()
        until(lambda: get(server, "/readyz") == (503, '{"ready":false,"reasons":["orders: paused"]}\n'))
        app.stop().result()
        assert get(server, "/readyz") == (503, '{"ready":false,"reasons":["orders: closed"]}\n')
        assert get(server, "/livez")[0] == get(server, "/healthz")[0] == 200
        assert get(server, "/elsewhere")[0] == 404


def test_metrics_are_in_the_form_that_the_scraper_asks_for(sqs: LocalSqs) -> None:
    gate = Gate()
    gate.go_on.set()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a"))
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            until(lambda: 'outcome="done",queue="orders"} 1.0' in get(server, "/metrics")[1])
            families = list(parse(get(server, "/metrics")[1]))
            newer = list(parse_openmetrics(get(server, "/metrics", Accept="application/openmetrics-text")[1]))
        finally:
            consumer.stop().result()
    assert len(families) == len(newer) == len(CATALOGUE)


def test_no_answer_shows_a_body(sqs: LocalSqs) -> None:
    """Neither of a message that runs, nor of one that failed with an error that quotes it."""
    gate = Gate()

    async def ship(body: str) -> None:
        if body.endswith("raise"):
            raise ValueError(body)
        await gate.waiting(body)

    consumer = Consumer("orders", ship, **create(sqs, CANARY, f"{CANARY}-raise"))
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            until(lambda: gate.started.is_set() and (now := consumer.statistics()) is not None and now.work.failed)
            key = "process=self&consumer=orders"
            answers = [get(server, path) for path in (*PATHS, "/api/state", f"/api/state?{key}")]
            with Reader(server, key) as reader:
                reader.read()
                reader.read()
                streamed = json.dumps(reader.state)
        finally:
            gate.go_on.set()
            consumer.stop().result()
    assert [status for status, _ in answers] == [200] * (len(PATHS) + 2)
    assert all(text and CANARY not in text for _, text in answers)
    assert '"type": "ValueError"' in streamed
    assert CANARY not in streamed


def test_a_handler_that_blocks_its_event_loop_does_not_make_it_look_dead(sqs: LocalSqs) -> None:
    """Liveness is the engine's; a restart because of a slow handler would lose leases."""
    gate = Gate()
    consumer = Consumer("orders", gate.blocking, **create(sqs, "a"))
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            assert gate.started.wait(30)
            assert get(server, "/livez") == (200, '{"live":true,"reasons":[]}\n')
            assert get(server, "/readyz")[0] == 200
            assert 'state="running"} 1.0' in get(server, "/metrics")[1]
            with Reader(server, "process=self&consumer=orders") as reader:
                reader.until(lambda: reader.consumer["running"] == 1)
                assert [row[0] for row in reader.consumer["detail"]["in_hand"].values()] == ["running"]
        finally:
            gate.go_on.set()
            consumer.stop().result()


class Away(MemoryStore):
    """A store that is down from the first message on."""

    began = False

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if key.startswith("leasekeeper:check") and not self.began:
            return await super().claim(key, token, fingerprint, lease)
        self.began = True
        raise ConnectionError("refused")


def test_all_paths_give_the_same_reason_of_an_unhealthy_consumer(sqs: LocalSqs) -> None:
    """Also when something else than SQS is missing."""
    store = Idempotency(Away(), key=lambda message: message.id)
    consumer = Consumer("orders", Gate().waiting, idempotency=store, **create(sqs, "a"))
    reason = "nothing is received until its store of idempotency keys answers: "
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            until(lambda: not consumer.healthy)
            status, ready = get(server, "/readyz")
            found = json.loads(get(server, "/statusz")[1])["consumers"][0]
            (process,) = json.loads(get(server, "/api/state")[1])["processes"].values()
        finally:
            consumer.stop().result()
    (said,) = json.loads(ready)["reasons"]
    assert status == 503
    assert said.startswith(f"orders: {reason}")
    assert said.endswith("refused")
    assert said == f"orders: {found['problem']}" == f"orders: {process['reason']}"
    assert process["state"] == "UNHEALTHY"


def test_during_a_stop_it_is_alive_and_not_ready(sqs: LocalSqs) -> None:
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a"))
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        assert gate.started.wait(30)
        consumer.request_stop()
        assert get(server, "/readyz")[0] == 503  # at once, before the engine has even heard of it
        until(lambda: get(server, "/readyz")[1] == '{"ready":false,"reasons":["orders: draining"]}\n')
        assert get(server, "/livez")[0] == 200
        gate.go_on.set()
        assert consumer.stop().result().handled == 1
        assert get(server, "/livez")[0] == 200


def test_an_engine_that_hangs_is_not_alive(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "LIVE_WITHIN", 0.05)
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a"))
    consumer.subscribe(gate.hang, events.MessagesReceived)
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            assert gate.started.wait(30)
            status, text = get(server, "/livez")
            assert (status, text) == (
                503,
                '{"live":false,"reasons":["orders: its engine has not answered for 0.05 s"]}\n',
            )
        finally:
            gate.go_on.set()
            consumer.stop().result()
        assert get(server, "/livez")[0] == 200


def test_it_ends_in_time_with_connections_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle ones, one in the middle of a request, and one whose answer is not read."""
    monkeypatch.setattr("leasekeeper.admin.server.LONGEST_STOP", PATIENCE)
    server = AdminServer(Consumer("orders", Gate().waiting), address="0")
    with server:
        address = AdminAddress.parse(server.url.removeprefix("http://"))
        idle, half = (socket.create_connection(address) for _ in range(2))
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"
        half.sendall(b"GET /livez HTTP/1.1\r\n")
        began = time.monotonic()
    took = time.monotonic() - began
    idle.close()
    half.close()
    assert took < PATIENCE  # its thread has ended by itself
    assert "stopped" in repr(server)
    socket.create_server(address).close()  # the port is free again


def test_connections_without_a_request_keep_no_probe_out() -> None:
    with AdminServer(Consumer("orders", Gate().waiting), address="0") as server:
        address = AdminAddress.parse(server.url.removeprefix("http://"))
        idle = [socket.create_connection(address) for _ in range(CONNECTIONS + 20)]
        idle[-1].sendall(b"GET /livez HTTP/1.1\r\n")  # and never the rest
        assert get(server, "/livez")[0] == 200
        for each in idle:
            each.close()


def test_a_process_that_ends_leaves_the_socket_of_the_one_that_follows(tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/s"
    first, second = (AdminServer(Consumer("orders", Gate().waiting), address=where) for _ in range(2))
    first.__enter__()
    with second:
        first.__exit__()
        assert asyncio.run(ask(Place.parse(where), "/livez")).status == 200
    assert not Path(tmp_path, "s").exists()


def test_it_ends_in_time_while_an_answer_is_awaited(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasekeeper.admin.server.LONGEST_STOP", PATIENCE)
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a"))
    consumer.subscribe(gate.hang, events.MessagesReceived)
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        assert gate.started.wait(30)
        open_one = socket.create_connection(AdminAddress.parse(server.url.removeprefix("http://")))
        open_one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: get(server, "/readyz"))
        began = time.monotonic()
    took = time.monotonic() - began
    gate.go_on.set()
    consumer.stop().result()
    open_one.close()
    assert took < PATIENCE  # its thread has ended by itself
    assert "stopped" in repr(server)


def test_it_can_be_mounted_in_a_web_app() -> None:
    answer = get_mounted(admin_app(Consumer("orders", Gate().waiting)), "/admin/livez", "probe.example")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("hosts", "status"), [({}, 421), ({"hosts": ["shop.example"]}, 200), ({"hosts": None}, 200)])
def test_a_mounted_surface_answers_for_the_names_that_it_was_given(hosts: dict[str, Any], status: int) -> None:
    admin = admin_app(Consumer("orders", Gate().waiting), **hosts)
    assert get_mounted(admin, "/admin/api/state", "shop.example").status_code == status
    assert get_mounted(admin, "/admin/api/state", "127.0.0.1").status_code == 200


def get_mounted(admin: Any, path: str, host: str) -> Response:
    """The answer of a web app that has the surface under `/admin`."""
    from httpx import ASGITransport, AsyncClient  # slow to import
    from starlette.applications import Starlette
    from starlette.routing import Mount

    async def ask() -> Response:
        web = Starlette(routes=[Mount("/admin", admin)])
        async with AsyncClient(transport=ASGITransport(app=web), base_url=f"http://{host}") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = (
            f"the admin address '127.0.0.1:{port}': cannot listen: Address already in use; another program listens"
        )
        with pytest.raises(ConfigurationError, match=expected), AdminServer(Leasekeeper(), address=str(port)):
            pass


def test_an_address_of_another_machine_is_named() -> None:
    expected = r"the admin address '192.0.2.1:9900': cannot listen: .*; give an address of this machine"
    with pytest.raises(ConfigurationError, match=expected), AdminServer(Leasekeeper(), address="192.0.2.1:9900"):
        pass


@pytest.mark.parametrize("library", ["uvicorn", "starlette"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith((f"{library}.", "leasekeeper.admin.surface"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    expected = rf"the admin surface needs {library}\S*: pip install prometheus-client starlette uvicorn"
    with pytest.raises(ConfigurationError, match=expected), AdminServer(Leasekeeper(), address="0"):
        pass


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9900", "127.0.0.1", 9900),
        ("9900", "127.0.0.1", 9900),
        (":0", "127.0.0.1", 0),
        ("localhost:80", "localhost", 80),
        ("[::1]:9900", "::1", 9900),
        ("0.0.0.0:9900", "0.0.0.0", 9900),
    ],
)
def test_an_address_without_a_host_is_of_this_machine(text: str, host: str, port: int) -> None:
    assert AdminAddress.parse(text) == (host, port)
    assert AdminAddress.parse(str(AdminAddress.parse(text))) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.0.0.1:", "127.0.0.1:65536", "::1:9900", "http://x:1", "1:-1", "x:²"]
)
def test_a_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"a port from 0 to 65535, or unix:/PATH"):
        AdminAddress.parse(text)


def test_a_server_on_all_addresses_is_reached_on_this_machine() -> None:
    assert [str(AdminAddress.parse(text).reachable) for text in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1")] == [
        "127.0.0.1:1",
        "[::1]:1",
        "10.0.0.1:1",
    ]


def test_what_an_autoscaler_needs_is_at_a_path_of_the_status(sqs: LocalSqs) -> None:
    """KEDA's `metrics-api` reads `consumers.0.statistics.scaling.wanted_replicas`."""
    options = create(sqs, *map(str, range(40)))
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, concurrency=4, prefetch=0, wait_time=1, poll_grace=0, **options)
    with AdminServer(consumer, address="0", processes=2) as server:
        consumer.start()
        gate.started.wait(30)

        def scaling(query: str = "") -> dict[str, Any] | None:
            status = json.loads(get(server, f"/statusz{query}")[1])
            found: dict[str, Any] | None = status["consumers"][0]["statistics"]["scaling"]
            return found

        until(scaling)
        found = scaling()
        assert found is not None
        assert found["visible"] + found["in_flight"] == 40
        assert found["replicas"] >= 2.0
        assert 0.0 <= json.loads(get(server, "/statusz")[1])["consumers"][0]["backlog_age"] < 60.0
        assert (found["latency"], found["wanted_replicas"]) == (60.0, 1)
        for query, latency in (("?latency=120", 120.0), ("?latency=-1", 60.0), ("?latency=x", 60.0)):
            assert (scaling(query) or {})["latency"] == latency
        metrics = get(server, "/metrics")[1]
        assert 'leasekeeper_wanted_replicas{consumer="Gate.waiting",queue="orders"} 1.0' in metrics
        gate.go_on.set()
        assert consumer.stop().result().unsettled == 0
