"""What each HTTP library does when the network or the server misbehaves: the same errors from both."""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from leasekeeper.api import Outgoing
from leasekeeper.errors import ConfigurationError, SqsError, Verdict
from leasekeeper.sqs.http import allowance

if TYPE_CHECKING:
    from pathlib import Path

    from leasekeeper.api import TransportSettings
    from leasekeeper.sqs.client import SqsClient

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


async def send(client: SqsClient) -> SqsError:
    """A call that is made once only, and how it failed."""
    with pytest.raises(SqsError) as failed:
        await client.send(QUEUE, Outgoing(body="x"))
    assert failed.value.verdict is Verdict.UNAVAILABLE
    assert failed.value.operation == "SendMessage"
    return failed.value


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("reset", "ConnectionReset"),
        ("close", "ConnectionReset"),
        ("garbage", "Garbage"),
        ("truncate", "Truncated"),
        ("hang", "ReadTimeout"),
        ("drip", "ReadTimeout"),
    ],
)
def test_a_server_that_misbehaves_is_named_and_the_next_call_goes_well(kit: Any, step: str, code: str) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        error = await send(client)
        assert error.code == code
        assert error.message.startswith(f"{script.url}/ ")
        client._wire._timeout = 30.0  # the server is slow no more; a busy machine may be
        assert await client.queue_attributes(QUEUE) == {"DelaySeconds": "0"}

    limit = 0.1 if code == "ReadTimeout" else 30.0
    script = kit.play(story, step, kit.answer({"Attributes": {"DelaySeconds": "0"}}), call_timeout=limit)
    assert script.operations() == ["SendMessage", "GetQueueAttributes"]


def test_a_port_without_a_listener_is_a_connect_error(kit: Any) -> None:
    async def story() -> None:
        async with kit.serve() as script:
            url = script.url
        async with await kit.connect(url) as client:
            error = await send(client)
            assert error.code == "ConnectError"
            assert error.message.startswith(f"{url}/ cannot be reached: check the endpoint URL, the network route ")
            assert "this machine: is it running?" in error.message

    asyncio.run(story())


def test_a_name_that_does_not_resolve_has_an_error_for_it(kit: Any) -> None:
    async def story() -> None:
        async with await kit.connect("http://nowhere.invalid:4566") as client:
            error = await send(client)
            assert error.code == "NameNotResolved"
            assert error.message.startswith(
                "http://nowhere.invalid:4566/ has a host name that cannot be resolved: check "
            )

    asyncio.run(story())


@pytest.mark.slow
def test_an_answer_that_keeps_arriving_may_take_longer_than_the_time_out(kit: Any) -> None:
    """A slow network delivers large messages; giving them up would receive them again until they are dead letters."""

    async def story(client: SqsClient, _: Any) -> None:
        assert await client.queue_attributes(QUEUE) == {"Policy": "x" * 400}

    assert len(kit.play(story, "steady", call_timeout=0.7).asked) == 1


@pytest.mark.slow
def test_an_answer_that_never_ends_is_given_up(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("connection", "http_aiohttp"):
        monkeypatch.setattr(f"leasekeeper.sqs.{module}.LONGEST_ANSWER", 0.3)

    async def story(client: SqsClient, _: Any) -> None:
        assert (await send(client)).code == "ReadTimeout"

    kit.play(story, "endless", call_timeout=0.2)


def test_a_large_request_is_given_the_time_of_a_slow_network() -> None:
    """SQS answers when it has all of it: 1 MiB at 100 KB/s is longer on its way than a call may take otherwise."""
    assert allowance(10.0, b"x" * 1_000_000) == 20.0
    assert allowance(10.0, b"x" * 500) == 10.005


def test_a_silent_server_behind_an_https_url_is_an_error_in_time(kit: Any) -> None:
    async def story() -> None:
        async with kit.serve() as script:
            url = script.url.replace("http:", "https:")
            async with await kit.connect(url, call_timeout=1.0, connect_timeout=0.5) as client:
                error = await send(client)
                assert error.code == "ConnectTimeout"
                if kit.http == "native":
                    assert "in the TLS handshake: does this port speak plain http://?" in error.message

    asyncio.run(story())


def test_a_plain_server_behind_an_https_url_is_named_at_once(kit: Any) -> None:
    class Plain(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            transport.close()

    async def story() -> None:
        server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
        async with await kit.connect(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
            error = await send(client)
        server.close()
        assert error.code == "ConnectError"
        assert "the server does not speak TLS on this port; write http:// in the endpoint URL" in error.message

    asyncio.run(story())


@pytest.mark.slow
def test_a_tls_server_behind_an_http_url_is_named_at_once(kit: Any, certificate: tuple[Path, Path]) -> None:
    async def story() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[1])
        async with (
            kit.serve(tls=context) as script,
            await kit.connect(script.url.replace("https:", "http:")) as client,
        ):
            error = await send(client)
        assert error.code in {"Garbage", "ConnectionReset"}  # the alert may be lost in the reset that follows it
        if kit.http == "native" and error.code == "Garbage":
            assert "it answers in TLS: write https:// in the endpoint URL" in error.message

    asyncio.run(story())


def test_connections_are_kept_and_polls_share_none_with_other_calls(kit: Any) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        for _ in range(3):
            await client.receive(QUEUE, maximum=1, wait=0, visibility=30)
            await client.delete(QUEUE, "r")

    script = kit.play(story)
    polls = {asked.connection for asked in script.asked if asked.headers["x-amz-target"].endswith("ReceiveMessage")}
    others = {asked.connection for asked in script.asked if asked.headers["x-amz-target"].endswith("DeleteMessage")}
    assert len(polls) == len(others) == 1
    assert not polls & others


def test_the_host_is_sent_as_it_was_signed_and_the_path_as_a_path(kit: Any) -> None:
    async def story() -> None:
        async with kit.serve() as proxy:
            for endpoint in ("http://sqs.example.invalid:80/a%20b/", "http://sqs.example.invalid:8080"):
                async with await kit.connect(endpoint, proxies={"http": proxy.url}) as client:
                    await client.delete(QUEUE, "r")
        assert [asked.headers["host"] for asked in proxy.asked] == [
            "sqs.example.invalid",
            "sqs.example.invalid:8080",
        ]
        assert [asked.target for asked in proxy.asked] == [
            "http://sqs.example.invalid/a%20b/",
            "http://sqs.example.invalid:8080/",
        ]

    asyncio.run(story())


def test_a_redirect_is_not_followed(kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        script.steps.append(kit.answer(b"", 302, Location=f"{script.url}/elsewhere"))
        with pytest.raises(SqsError) as failed:
            await client.delete(QUEUE, "r")
        assert (failed.value.verdict, failed.value.code) == (Verdict.UNAVAILABLE, "HTTP302")

    assert len(kit.play(story).asked) == 1


def test_cookies_are_not_kept(kit: Any) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        await client.delete(QUEUE, "r")
        await client.delete(QUEUE, "r")

    script = kit.play(story, kit.answer({}, Set_Cookie="a=b; Path=/"))
    assert all("cookie" not in asked.headers for asked in script.asked)


def test_proxies_of_the_environment_are_used_only_as_botocore_uses_them(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library itself must not look at HTTP_PROXY: here `proxies={}` says that there are none."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def story(client: SqsClient, _: Any) -> None:
        await client.delete(QUEUE, "r")

    assert kit.play(story).operations() == ["DeleteMessage"]


def test_a_proxy_is_asked_for_the_whole_url(kit: Any) -> None:
    async def story() -> None:
        async with (
            kit.serve() as proxy,
            await kit.connect("http://sqs.example.invalid", proxies={"http": proxy.url}) as client,
        ):
            await client.delete(QUEUE, "r")
        assert proxy.asked[0].headers["host"] == "sqs.example.invalid"

    asyncio.run(story())


def test_a_call_can_be_called_off_and_the_next_goes_well(kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        call = asyncio.create_task(client.receive(QUEUE, maximum=1, wait=20, visibility=30))
        await script.came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await client.receive(QUEUE, maximum=1, wait=20, visibility=30) == []

    kit.play(story, "hang")


def test_a_poll_that_is_given_up_closes_its_connection(kit: Any) -> None:
    """A server must not hand messages to a poll that no task waits for, though the call is still referenced."""

    async def story(client: SqsClient, script: Any) -> None:
        call = asyncio.create_task(client.receive(QUEUE, maximum=1, wait=20, visibility=30))
        await script.came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(60):
            while script.open:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0)

    kit.play(story, "hang")


def test_closing_ends_calls_in_flight(kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        call = asyncio.create_task(client.receive(QUEUE, maximum=1, wait=20, visibility=30))
        await script.came.wait()
        await client.close()
        with pytest.raises(SqsError) as failed:
            await call
        assert failed.value.verdict is Verdict.UNAVAILABLE
        await client.close()

    kit.play(story, "hang")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that no system trusts, with its key."""
    authority = trustme.CA()
    paths = tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(paths[0]))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(paths[1]))
    return paths


@pytest.mark.slow
def test_a_certificate_is_checked_against_the_ca_bundle(kit: Any, certificate: tuple[Path, Path]) -> None:
    async def story() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[1])
        async with kit.serve(tls=context) as script:
            async with await kit.connect(script.url) as stranger:
                error = await send(stranger)
                assert error.code == "ConnectError"
                assert error.message.startswith(f"{script.url}/ cannot be reached: ")
                assert "has signed the certificate; set AWS_CA_BUNDLE to the PEM file of the authority" in error.message
            async with await kit.connect(script.url, ca_bundle=str(certificate[0])) as friend:
                await friend.delete(QUEUE, "r")
            async with await kit.connect(script.url, verify_tls=False) as careless:
                await careless.delete(QUEUE, "r")
        assert script.operations() == ["DeleteMessage", "DeleteMessage"]

    asyncio.run(story())


@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_refused_at_once(kit: Any, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca_bundle='.*ca\.pem'"):
        asyncio.run(kit.connect("https://localhost:1", ca_bundle=str(path)))


def test_without_aiohttp_installed_the_setting_says_what_to_install(
    one_kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "leasekeeper.sqs.http_aiohttp", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        asyncio.run(one_kit.connect("http://localhost:1", http="aiohttp"))
    assert str(refused.value) == (
        "http='aiohttp' needs aiohttp: pip install aiohttp (the extra `aiohttp`), or leave `http` at 'native'"
    )


def test_an_unknown_library_is_refused(one_kit: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"http='curl': give 'native', 'aiohttp' or a function"):
        asyncio.run(one_kit.connect("http://localhost:1", http="curl"))


def test_a_transport_of_ones_own_is_told_how_to_connect(one_kit: Any) -> None:
    made: list[TransportSettings] = []

    class Nothing:
        def __init__(self, connecting: TransportSettings) -> None:
            made.append(connecting)

        async def close(self) -> None:
            pass

    async def story() -> None:
        async with await one_kit.connect("http://localhost:1/", http=Nothing, connect_timeout=2.5):
            pass

    asyncio.run(story())
    assert len(made) == 2
    assert made[0].url == "http://localhost:1/"
    assert made[0].connect_timeout == 2.5
    assert dict(made[0].headers) == {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-query-mode": "true",
        "User-Agent": made[0].headers["User-Agent"],
    }
    assert made[0].headers["User-Agent"].startswith("leasekeeper/")
