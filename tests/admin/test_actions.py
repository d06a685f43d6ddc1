"""What people may do through the surface, over real sockets, and what keeps others from doing it."""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from served import Gate, Reader, connect, create, get, until

from leasekeeper import ConfigurationError, Consumer
from leasekeeper.admin import AdminServer, access, surface
from leasekeeper.admin.settings import SurfaceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.local import LocalSqs

pytest_plugins = ["surface_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickly")]
TOKEN = "correct horse battery"
RIGHT = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def post(server: AdminServer, wish: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = connect(server)
    try:
        body = wish if isinstance(wish, bytes) else json.dumps({"process": "self", **wish}).encode()
        connection.request("POST", "/api/actions", body, RIGHT if headers is None else headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())["said"]
        return answer.status, said
    finally:
        connection.close()


@pytest.fixture
def served(sqs: LocalSqs) -> Iterator[tuple[Consumer, AdminServer, Gate]]:
    """A consumer that runs, with a handler that waits, and its surface with a token."""
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, concurrency=2, **create(sqs, *"abcdefgh"))
    with AdminServer(consumer, address="0", token=TOKEN) as server:
        consumer.start()
        try:
            yield consumer, server, gate
        finally:
            gate.go_on.set()
            consumer.stop().result()


def test_pause_resume_quiet_and_stop(served: tuple[Consumer, AdminServer, Gate]) -> None:
    consumer, server, gate = served
    with Reader(server) as reader:
        reader.read()
        for action, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("quiet", "QUIET"), ("stop", "DRAINING")):
            status, said = post(server, {"consumer": "orders", "action": action})
            assert status == 200
            assert said.startswith("orders: it ")
            while reader.consumer["state"] != state:
                reader.read()
        assert reader.process["read_only"] is False
        gate.go_on.set()
        reader.until(lambda: reader.consumer["state"] == "STOPPED")
    assert consumer.stop().result().unsettled == 0


def test_concurrency_grows_and_shrinks_while_handlers_run(served: tuple[Consumer, AdminServer, Gate]) -> None:
    _, server, _ = served
    with Reader(server) as reader:
        reader.until(lambda: reader.consumer["running"] == 2)
        status, said = post(server, {"consumer": "orders", "action": "concurrency", "value": 6})
        assert status == 200
        assert said.startswith("orders: concurrency was 2 and is 6: at most 6 handlers run at the same time;")
        reader.until(lambda: reader.consumer["running"] == 6)
        assert reader.consumer["concurrency"] == 6
        assert post(server, {"action": "concurrency", "value": 0})[0] == 409
        assert post(server, {"action": "concurrency"}) == (400, "concurrency needs a value: the number of handlers")


class Threads:
    """A `def` handler that counts how many of it run."""

    def __init__(self) -> None:
        self.lock, self.free = threading.Lock(), threading.Event()
        self.running = self.done = 0

    def __call__(self, _body: str) -> None:
        with self.lock:
            self.running += 1
        self.free.wait(30)
        with self.lock:
            self.running -= 1
            self.done += 1


def test_threads_grow_and_shrink(sqs: LocalSqs) -> None:
    """Those that are too many end with their unit, and leave what waits behind them to others."""
    threads = Threads()
    consumer = Consumer("orders", threads, concurrency=2, **create(sqs, *map(str, range(30))))

    def workers() -> int:
        now = consumer.statistics()
        return now.lane.workers if now is not None else 0

    consumer.start()
    try:
        until(lambda: threads.running == 2)
        assert "at most 6 handlers run" in consumer.set_concurrency(6).result()
        until(lambda: threads.running == workers() == 6)
        said = consumer.set_concurrency(40).result()
        assert "at most 32 handlers run at the same time (there are no more than 32 threads)" in said
        until(lambda: threads.running == 30)
        assert "at most 1 handler runs" in consumer.set_concurrency(1).result()
        threads.free.set()
        until(lambda: threads.done == 30 and workers() == 1)
    finally:
        threads.free.set()
        report = consumer.stop().result()
    assert (report.acked, report.unsettled) == (30, 0)


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content-Type": "application/json"}, 401, "the token is missing or wrong"),
        ({**RIGHT, "Authorization": "Bearer wrong"}, 401, "the token is missing or wrong"),
        ({**RIGHT, "Authorization": f"Basic {TOKEN}"}, 401, "the token is missing or wrong"),
        ({**RIGHT, "Origin": "https://evil.example"}, 403, "a page of https://evil.example may not do this"),
        ({**RIGHT, "Origin": "http://["}, 403, "a page of http://[ may not do this"),
        ({**RIGHT, "Origin": "null"}, 403, "a page of null may not do this"),
        ({**RIGHT, "Sec-Fetch-Site": "cross-site"}, 403, "a page of another site may not do this"),
        ({"Authorization": f"Bearer {TOKEN}"}, 415, "the body must be JSON: send Content-Type: application/json"),
        ({**RIGHT, "Content-Type": "text/plain"}, 415, "the body must be JSON: send Content-Type: application/json"),
    ],
)
def test_requests_of_strangers_change_nothing(headers: dict[str, str], status: int, said: str) -> None:
    consumer = Consumer("orders", Gate().waiting)
    with AdminServer(consumer, address="0", token=TOKEN) as server:
        assert post(server, {"action": "pause"}, headers) == (status, said)


def test_bodies_that_cannot_be_used_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "LARGEST_BODY", 200)
    with AdminServer(Consumer("orders", Gate().waiting), address="0", token=TOKEN) as server:
        assert post(server, b"{")[0] == 400
        assert post(server, {"action": "explode"})[0] == 400
        assert post(server, {"action": "pause", "more": 1})[0] == 400
        assert post(server, b" " * 300) == (413, "the body has more than 200 bytes")


WHERE = "; /api/state has the keys of all processes and their consumers"


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with AdminServer(Consumer("orders", Gate().waiting), address="0", token=TOKEN, name="one") as server:
        assert post(server, {"action": "pause", "consumer": "other"}) == (
            404,
            "there is no consumer of 'other' in 'self': it consumes 'orders'",
        )
        assert post(server, {"action": "pause", "process": "elsewhere:1"}) == (
            404,
            f"there is no process 'elsewhere:1' here; give one of 'one' as the process{WHERE}",
        )


def test_a_surface_without_consumers_names_the_processes_that_have_them() -> None:
    with (
        AdminServer(Consumer("orders", Gate().waiting), address="0", name="one") as first,
        AdminServer(Consumer("emails", Gate().waiting), address="0", name="two") as second,
        AdminServer(address="0", token=TOKEN, peers=[first.url, second.url]) as server,
    ):
        until(lambda: get(server, "/api/state")[1].count('"orders"') and get(server, "/api/state")[1].count('"emails"'))
        mine = "there is no consumer of 'emails' in 'self': the process that answers here has none"
        wish = {"process": "self", "action": "pause"}
        assert post(server, wish | {"consumer": "emails"})[1] == f"{mine}; give one of 'two' as the process{WHERE}"
        both = "; give one of 'one', 'two' as the process"
        assert post(server, wish | {"consumer": "other"})[1] == mine.replace("emails", "other") + both + WHERE
        none = "there is no consumer in 'self': the process that answers here has none"
        assert post(server, wish)[1] == none + both + WHERE


def test_without_a_token_the_surface_is_read_only() -> None:
    with AdminServer(Consumer("orders", Gate().waiting), address="0") as server:
        status, said = post(server, {"action": "pause"})
        assert (status, said[:28]) == (403, "this surface is read-only: s")
        (process,) = json.loads(get(server, "/api/state")[1])["processes"].values()
        assert process["read_only"] is True


def test_each_action_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "leasekeeper"),
        AdminServer(Consumer("orders", Gate().waiting), address="0", token=TOKEN) as server,
    ):
        post(server, {"action": "pause", "consumer": "orders"})
        post(server, {"action": "stop"}, {**RIGHT, "Authorization": "Bearer wrong"})
    lines = [record.getMessage() for record in caplog.records if record.name == "leasekeeper.admin"]
    assert lines[0].startswith("admin: pause of orders in self: orders: it receives nothing more")
    assert lines[0].endswith("(asked by 127.0.0.1)")
    assert lines[1] == "admin: an action was refused: the token is missing or wrong (asked by 127.0.0.1)"
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("token", ["", "short", "pässword-ä"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ConfigurationError, match="give 8 or more"):
        AdminServer(Consumer("orders", Gate().waiting), address="0", token=token)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:9900", True),
        ("localhost:9900", True),
        ("[::1]:9900", True),
        ("10.1.2.3", True),
        (f"{socket.gethostname()}:9900", True),
        ("consumers.svc:9900", True),
        ("evil.example:9900", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:9900", False),
        ("", False),
    ],
)
def test_only_names_of_this_machine_are_answered(host: str, *, allowed: bool) -> None:
    """A page of others can let its own name resolve to our address (DNS rebinding)."""
    settings = SurfaceSettings(hosts=["consumers.svc"])
    assert settings.allows_host(host) is allowed
    assert SurfaceSettings().allows_host(host)  # mounted: the web app knows its names


def test_a_foreign_name_reads_nothing_but_probes_may_use_any() -> None:
    with AdminServer(Consumer("orders", Gate().waiting), address="0") as server:
        for path in ("/", "/api/state", "/api/stream", "/statusz"):
            status, text = get(server, path, Host="evil.example")
            assert status == 421
            assert "'evil.example' is no name of this server" in text
        assert get(server, "/livez", Host="evil.example")[0] == 200
        assert get(server, "/metrics", Host="evil.example")[0] == 200


def test_streams_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "STREAMS", 1)
    with AdminServer(Consumer("orders", Gate().waiting), address="0") as server:
        with Reader(server) as reader:
            assert reader.read() == "state"
            assert get(server, "/api/stream")[0] == 503
        until(lambda: _opens(server))


def _opens(server: AdminServer) -> bool:
    with Reader(server) as reader:
        return reader.answer.status == 200
