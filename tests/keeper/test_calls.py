"""The keeper's own client: batches by position, errors, connections that end, proxies, TLS."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from leasekeeper.core.delivery import Lease
from leasekeeper.keeper.calls import Refused, SqsCalls, context_for
from leasekeeper.keeper.entries import Entries, KeptDelivery
from leasekeeper.keeper.layout import WAITING, Credentials, Settings
from leasekeeper.keeper.table import Table
from leasekeeper.keeper.threads import Threads
from leasekeeper.keeper.watched_process import WatchedProcess
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kept_bench import KeptBench

OK = b'{"Successful": [{"Id": "0"}], "Failed": []}'


@pytest.fixture
def calls_to() -> Iterator[Callable[..., SqsCalls]]:
    """Makes clients, and closes them."""
    with ExitStack() as stack:

        def make(endpoint: str, **settings: str) -> SqsCalls:
            made = Settings(endpoint, "us-east-1", f"{endpoint}/1/orders", "orders", **settings)  # type: ignore[arg-type]
            calls = SqsCalls(made, context_for(made))
            stack.callback(calls.close)
            calls.credentials = Credentials("key", "secret", "token")
            return calls

        yield make


def _answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextmanager
def _server(
    connections: Sequence[Sequence[bytes]], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """Answer each request of each connection as told, then close it; the port, and what was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        for answers in connections:
            connection, _ = listener.accept()
            with connection if tls is None else tls.wrap_socket(connection, server_side=True) as link:
                for answer in answers:
                    data = link.recv(65_536)
                    while data and not _whole(data):
                        data += link.recv(65_536)
                    asked.append(data)
                    link.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(60)


def _whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if not found or b"Content-Length: " not in head:
        return bool(found)
    return len(body) >= int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])


def test_batches_are_answered_by_position(bench: KeptBench) -> None:
    bench.fill(2)
    bench.sqs.start()
    messages = bench.call("ReceiveMessage", MaxNumberOfMessages=10)["Messages"]
    receipts = [message["ReceiptHandle"] for message in messages]
    settings = Settings(bench.sqs.endpoint_url, "us-east-1", bench.url, "orders")
    calls = SqsCalls(settings, context_for(settings))
    with pytest.raises(Refused, match="has not told its credentials"):
        calls.delete(receipts)
    calls.credentials = Credentials("key", "secret", None)
    assert calls.change_visibility([(receipts[0], 0), ("none", 0)]) == ["", "ReceiptHandleIsInvalid"]
    assert bench.counts() == (1, 1)
    assert calls.delete([receipts[1]]) == [""]
    assert bench.counts() == (1, 0)
    calls.close()


def test_what_an_answer_does_not_name_is_not_confirmed(calls_to: Callable[..., SqsCalls]) -> None:
    with _server([[_answer(OK)]]) as (port, _):
        assert calls_to(f"http://127.0.0.1:{port}").delete(["a", "b"]) == ["", "Unconfirmed"]


def test_an_answer_in_chunks_is_read(calls_to: Callable[..., SqsCalls]) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(OK), OK)
    with _server([[chunked]]) as (port, _):
        assert calls_to(f"http://127.0.0.1:{port}").delete(["a"]) == [""]


def test_a_connection_that_the_server_has_closed_is_replaced_once(calls_to: Callable[..., SqsCalls]) -> None:
    with _server([[_answer(OK)], [_answer(OK)]]) as (port, asked):
        calls = calls_to(f"http://127.0.0.1:{port}")
        assert [calls.delete(["a"]), calls.delete(["b"])] == [[""], [""]]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_answer(b'{"__type": "AccessDenied"}', "403 Forbidden"), "HTTP 403.*AccessDenied"),
        (b"SSH-2.0\r\n\r\n", "no head of a response"),
        (_answer(b"<html>"), "not JSON"),
        (b"", "closed before the answer"),
    ],
)
def test_what_is_no_answer_of_sqs_is_an_error(calls_to: Callable[..., SqsCalls], answer: bytes, words: str) -> None:
    with _server([[answer]]) as (port, _), pytest.raises(Refused, match=words):
        calls_to(f"http://127.0.0.1:{port}").delete(["a"])


def test_a_call_refused_because_of_the_time_is_signed_by_the_servers_clock(
    calls_to: Callable[..., SqsCalls],
) -> None:
    late = _answer(b"{}", "403 Forbidden", "Date: Tue, 01 Jan 2030 00:00:00 GMT")
    with _server([[late, _answer(OK)]]) as (port, asked):
        assert calls_to(f"http://127.0.0.1:{port}").delete(["a"]) == [""]
    assert b"X-Amz-Date: 20300101T00000" in asked[1]
    assert b"X-Amz-Security-Token: token" in asked[1]


def test_a_server_that_is_not_there_is_an_error(calls_to: Callable[..., SqsCalls]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Refused, match="ConnectionRefused"):
        calls_to(f"http://127.0.0.1:{port}").delete(["a"])


def test_plain_http_goes_through_a_proxy_by_its_whole_url(calls_to: Callable[..., SqsCalls]) -> None:
    with _server([[_answer(OK)]]) as (port, asked):
        assert calls_to("http://sqs.test", proxy=f"http://user:word@127.0.0.1:{port}").delete(["a"]) == [""]
    assert asked[0].startswith(b"POST http://sqs.test HTTP/1.1\r\nHost: sqs.test\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in asked[0]


def test_tls_is_verified_against_the_bundle(calls_to: Callable[..., SqsCalls], tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle, other = tmp_path / "bundle.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(str(bundle))
    stranger.cert_pem.write_to_path(str(other))
    with _server([[_answer(OK)]], context) as (port, _):
        assert calls_to(f"https://127.0.0.1:{port}", ca_bundle=str(bundle)).delete(["a"]) == [""]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_refused, args=(listener, context), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(
            Refused, match=f"DeleteMessageBatch: {url} cannot be reached: .*set AWS_CA_BUNDLE to the PEM"
        ):
            calls_to(url, ca_bundle=str(other)).delete(["a"])


def _refused(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with connection, pytest.raises(OSError):
        context.wrap_socket(connection, server_side=True)


# What becomes of a dead process's messages


def _settle(port: int, messages: int) -> list[str]:
    """Settle what a process held, at this server; what the keeper says about it."""
    url, said = f"http://127.0.0.1:{port}", list[str]()
    table = Table.make(100, Settings(url, "us-east-1", f"{url}/1/orders", "orders"), keep_for=60)
    table.write_credentials(Credentials("key", "secret", None))
    lease = Lease(600, 0.0, 300.0, time.monotonic() + 600)
    rows = [
        KeptDelivery(Received(message_id=str(each), receipt=f"r{each}"), lease, 1.0, 2.0) for each in range(messages)
    ]
    Entries(table).enter(rows, [row.received for row in rows], WAITING)
    threads = Threads()
    threads.start()
    watched = WatchedProcess(0, threads, threads, say=said.append)
    watched.add(os.dup(table.descriptor))
    watched.settle()
    watched.close()
    threads.close()
    table.close()
    return said


def test_a_queue_that_is_not_there_any_more_is_not_asked_again() -> None:
    gone = _answer(b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist"}', "400 Bad Request")
    with _server([[gone]]) as (port, _):
        [said] = _settle(port, 10)
    assert said.startswith("the process ended and held 10 messages: 0 deleted and 0 given back in ")
    assert "10 come back when their visibility timeout ends (ChangeMessageVisibilityBatch: HTTP 400" in said


def test_one_message_is_told_in_the_singular() -> None:
    with _server([[_answer(OK)]]) as (port, _):
        [said] = _settle(port, 1)
    assert said.startswith("the process ended and held 1 message: 0 deleted and 1 given back in ")
