"""Several processes in one state: peers over TCP and Unix sockets, peers that die and return, and circles."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from served import Gate, Reader, connect, create, get

from leasekeeper import ConfigurationError, Consumer
from leasekeeper.admin import AdminServer, asking, fleet
from leasekeeper.admin.asking import Place, Unreachable, ask
from leasekeeper.admin.fleet import Fleet
from leasekeeper.admin.queues import queues_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from leasekeeper.admin.state import Process
    from leasekeeper.local import LocalSqs

pytest_plugins = ["surface_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickly")]
TOKEN = "correct horse battery"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "EVERY", 0.02)


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with a short path: that of a Unix socket has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="lk") as folder:
        yield Path(folder)


def surface(name: str, **values: Any) -> AdminServer:
    return AdminServer(Consumer(name, Gate().waiting), address="0", name=name, **values)


def states(reader: Reader) -> dict[str, str]:
    return {name: each["state"] for name, each in reader.state["processes"].items()}


def detail_of(reader: Reader, process: str) -> Any:
    return reader.state["processes"][process]["consumers"]["orders"]["detail"]


def test_a_peer_that_dies_is_unreachable_and_comes_back() -> None:
    with surface("b") as peer:
        where = peer.url
        with surface("a", peers=[where]) as server, Reader(server) as reader:
            reader.until(lambda: states(reader) == {"a": "STARTING", "b": "STARTING"})
            assert reader.state["fleet"] is True
            peer.__exit__()
            refused = (
                f"{where}: the connection was refused: nothing listens there; is the process running, with --admin?"
            )
            reader.until(lambda: reader.state["processes"]["b"]["reason"] == refused)
            gone = reader.state["processes"]["b"]
            assert (gone["state"], gone["since"] > 0) == ("UNREACHABLE", True)
            assert gone["consumers"] == {}
            since = gone["since"]
            reader.read()
            assert reader.state["processes"]["b"]["since"] == since
            address = where.removeprefix("http://")
            with AdminServer(Consumer("b", Gate().waiting), address=address, name="b"):
                reader.until(lambda: states(reader)["b"] == "STARTING")


def test_a_peer_that_was_never_there_has_the_name_of_its_address() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    where = f"127.0.0.1:{free.getsockname()[1]}"
    free.close()
    with surface("a", peers=[where]) as server, Reader(server) as reader:
        reader.until(lambda: where in states(reader) and "refused" in reader.state["processes"][where]["reason"])
        assert states(reader)[where] == "UNREACHABLE"


def test_peers_that_name_each_other_and_themselves_ask_in_no_circle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    second = f"http://127.0.0.1:{port}"
    with surface("a", peers=[second]) as first:
        both = [first.url, second]
        consumer = Consumer("b", Gate().waiting)
        with (
            AdminServer(consumer, address=str(port), name="b", peers=both),
            Reader(first) as one,
        ):
            one.until(lambda: states(one) == {"a": "STARTING", "b": "STARTING"})
            alone = json.loads(get(first, "/api/state?peers=0")[1])["processes"]
            assert list(alone) == ["a"]


class Given:
    """Members that listen at these addresses."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self.said = ("", 0.0)

    def places(self) -> dict[str, int]:
        return {address: number for number, address in enumerate(self._addresses, 1)}

    def note(self, _pid: int) -> tuple[str, float]:
        return self.said

    def stand_in(self, _number: int, _last: Mapping[str, Process], *, silent: bool) -> None:
        del silent

    async def live(self) -> list[str]:
        return []

    async def ready(self) -> list[str]:
        return ["process 1: draining"]

    async def status(self, query: str) -> dict[str, Any]:
        return {"asked": query}

    async def metrics(self) -> bytes:
        return b"up 1\n"


def test_members_over_unix_sockets_are_a_part_of_a_surface(sockets: Path) -> None:
    """As the children of a supervisor, which has no consumers itself."""
    members: list[str] = []
    with AdminServer(address="0", members=Given(members)) as server, Reader(server) as reader:
        reader.until(lambda: states(reader) == {})
        members.extend(f"unix:{sockets / name}" for name in ("one", "two"))
        with (
            AdminServer(Consumer("q", Gate().waiting), address=members[0], name="one"),
            AdminServer(Consumer("q", Gate().waiting), address=members[1], name="two"),
        ):
            assert (sockets / "one").stat().st_mode & 0o777 == 0o600
            reader.until(lambda: states(reader) == {"one": "STARTING", "two": "STARTING"})
            given = json.loads(get(server, "/api/state?peers=0")[1])["processes"]
            assert {name: each["number"] for name, each in given.items()} == {"one": 1, "two": 2}
            assert reader.state["queues"]["q"]["processes"] == 2
            assert get(server, "/livez")[0] == 200
            assert get(server, "/readyz")[0] == 503
            assert json.loads(get(server, "/statusz?latency=9")[1]) == {"asked": "latency=9"}
            assert get(server, "/metrics")[1] in {"up 1\n", b"up 1\n"}
            members.pop()
            reader.until(lambda: list(states(reader)) == ["one"])
        assert not (sockets / "one").exists()


def test_a_process_that_was_started_again_says_so_with_the_time_of_the_death(sqs: LocalSqs, sockets: Path) -> None:
    consumer = Consumer("orders", Gate().waiting, wait_time=1, poll_grace=0, **create(sqs))
    address = f"unix:{sockets / 'one'}"
    given = Given([address])
    given.said = ("it was started again once", 1700000000.5)
    with (
        AdminServer(consumer, address=address, name="one"),
        AdminServer(address="0", members=given) as server,
        Reader(server) as reader,
    ):
        consumer.start()
        reader.until(lambda: states(reader) == {"one": "RUNNING"})
        process = reader.state["processes"]["one"]
        assert (process["reason"], process["since"]) == given.said
        consumer.stop().result()


def test_the_detail_and_the_actions_of_a_peer(sqs: LocalSqs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "leasekeeper.admin")
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a", "b"))
    with AdminServer(consumer, address="0", name="b", token=TOKEN) as peer:
        consumer.start()
        try:
            with surface("a", peers=[peer.url], token=TOKEN) as server:
                with Reader(server) as reader:
                    reader.until(lambda: states(reader).get("b") == "RUNNING")
                with Reader(server, "process=b&consumer=orders") as reader:
                    reader.until(lambda: len(detail_of(reader, "b")["in_hand"]) == 2)
                    connection = connect(server)
                    wish = {"process": "b", "consumer": "orders", "action": "pause"}
                    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
                    connection.request("POST", "/api/actions", json.dumps(wish), headers)
                    answer = connection.getresponse()
                    assert (answer.status, json.loads(answer.read())["done"]) == (200, True)
                    connection.close()
                    reader.until(lambda: states(reader)["b"] == "PAUSED")
                    done, passed_on = (each for each in caplog.messages if each.startswith("admin: pause"))
                    assert done.endswith("(asked by 127.0.0.1, through another surface)")
                    assert passed_on == (
                        "admin: pause of orders was passed on to b, which answered 200 (asked by 127.0.0.1)"
                    )
        finally:
            gate.go_on.set()
            consumer.stop().result()


@pytest.mark.parametrize(("allowed", "status"), [(False, 403), (True, 200)])
def test_the_token_goes_over_plain_http_to_another_machine_only_if_told_so(allowed: bool, status: int) -> None:
    with surface("b", token=TOKEN) as peer:
        # This address reaches this machine, and is none of its loopback addresses.
        there = peer.url.replace("127.0.0.1", "0.0.0.0")
        with (
            surface("a", peers=[there], token=TOKEN, actions_over_http=allowed) as server,
            Reader(server) as reader,
        ):
            reader.until(lambda: "b" in states(reader))
            wish = json.dumps({"process": "b", "consumer": "b", "action": "stop"})
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            connection = connect(server)
            connection.request("POST", "/api/actions", wish, headers)
            answer = connection.getresponse()
            said = answer.read().decode()
            connection.close()
    assert answer.status == status, said
    assert ("over plain http, where others may read it" in said) is not allowed


@pytest.mark.parametrize(
    ("where", "private"),
    [
        ("127.0.0.1:9900", True),
        ("http://[::1]:9900", True),
        ("localhost:9900", True),
        ("unix:/run/a.sock", True),
        ("https://b.example", True),
        ("http://b.example", False),
        ("10.0.0.7:9900", False),
    ],
)
def test_what_stays_on_the_machine_or_is_encrypted_is_private(where: str, private: bool) -> None:
    assert Place.parse(where).private is private


def test_what_answers_otherwise_is_said(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program, or one that says nothing, costs bounded time and is named."""
    monkeypatch.setattr(asking, "WITHIN", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with surface("a", peers=[sqs.endpoint_url, silent]) as server, Reader(server) as reader:

            def says(text: str) -> bool:
                return any(each["reason"].startswith(text) for each in reader.state["processes"].values())

            reader.until(lambda: says(f"{silent}: no answer within 0.1 s"))
            reader.until(lambda: says(f"{sqs.endpoint_url}: it answers 4"))


def test_an_answer_without_text_is_said_without_a_colon() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def look() -> str:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = str(server.sockets[0].getsockname()[1])
            source = fleet._Source(Place.parse(port), member=False, deep=False)
            await source._ask_all()
            source.task.cancel()
            return source.processes(None, None)[port]["reason"].removeprefix(port)

    assert asyncio.run(look()) == ": it answers 426 instead of its state"


def test_a_detail_comes_back_to_a_stream_after_a_long_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, a page that stayed open showed no detail any more when a process had not answered for 5 s."""
    monkeypatch.setattr(asking, "WITHIN", 30.0)

    async def look() -> list[Any]:
        with surface("orders") as peer:
            source = fleet._Source(Place.parse(peer.url), member=False, deep=False)
            source.task.cancel()
            await source.want("orders", "orders")
            seen = [source.processes("orders", "orders")]
            with monkeypatch.context() as away:
                away.setattr(asking, "WITHIN", 0.0)
                away.setattr(fleet, "WANTED", -1.0)  # longer than it is wanted for
                await source._ask_all()
            seen.append(source.processes("orders", "orders"))
            await source._ask_all()
            seen.append(source.processes("orders", "orders"))
            return seen

    before, during, after = asyncio.run(look())
    assert during["orders"]["state"] == "UNREACHABLE"
    assert before["orders"]["consumers"]["orders"]["detail"].keys() == (
        after["orders"]["consumers"]["orders"]["detail"].keys()
    )


def test_names_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "RESOLVE", 0.02)
    with surface("b") as peer:
        port = peer.url.rpartition(":")[2]
        peers = [f"dns:localhost:{port}", f"dns:nowhere.invalid:{port}"]
        with surface("a", peers=peers) as server, Reader(server) as reader:
            reader.until(lambda: states(reader).get("b") == "STARTING")
            assert states(reader)[peers[1]] == "UNREACHABLE"


def test_only_the_detail_of_a_consumer_that_is_there_is_asked_for() -> None:
    with surface("b") as peer, surface("a", peers=[peer.url]) as server, Reader(server) as reader:
        reader.until(lambda: "orders" not in states(reader) and states(reader).get("b") == "STARTING")
        for number in range(3):
            assert get(server, f"/api/state?process=b&consumer=no-{number}")[0] == 200
        (source,) = server._app.state.watch._fleet._sources.values()
        assert source._wanted == {}


def test_the_password_of_an_address_is_shown_nowhere() -> None:
    for wrong in ("http://ann:secret@host:1", "ann:secret@host:1", "http://ann:secret@host:x", "ftp://a:secret@host"):
        with pytest.raises(ConfigurationError) as refusal:
            Place.parse(wrong)
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "peer", ["", "ftp://x:1", "http://", "unix:relative", "dns:name", "dns::1", "dns:x:0", "http://x:y", "99999"]
)
def test_an_address_that_cannot_be_read_is_refused(peer: str) -> None:
    with pytest.raises(ConfigurationError, match="give"):
        Fleet([peer])


def test_an_address_may_be_short() -> None:
    assert Place.parse("10.0.0.7").authority == "10.0.0.7:9900"
    for alone in ("19901", ":19901"):
        assert Place.parse(alone).authority == "127.0.0.1:19901"
        assert Place.parse(alone).private
    assert Place.parse("https://shop.example/admin/").prefix == "/admin"
    assert Place.parse("http://[::1]:9900").authority == "[::1]:9900"
    with pytest.raises(Unreachable, match="its socket does not exist"):
        asyncio.run(ask(Place.parse("unix:/nowhere/at.all"), "/api/state"))


def test_the_messages_of_a_queue_count_once() -> None:
    backlog = {"visible": 100, "in_flight": 0, "delayed": 0, "dead_letters": None, "seconds": 50.0, "trend": None}
    consumer = {"rate_in": 2.0, "rate_out": 2.0, "rate_out_minute": 2.0}
    processes: Any = [
        {"consumers": {"orders": {**consumer, "backlog": {**backlog, "asked": 1.0, "visible": 90}}}},
        {"consumers": {"orders": {**consumer, "backlog": {**backlog, "asked": 2.0}}, "mails": consumer}},
    ]
    found = queues_of(processes)
    assert found["orders"]["processes"] == 2
    assert found["orders"]["rate_out"] == 4.0
    assert found["orders"]["backlog"] == {**backlog, "asked": 2.0, "seconds": 25.0}
    assert found["mails"] == {"processes": 1, "rate_in": 2.0, "rate_out": 2.0, "backlog": None}
