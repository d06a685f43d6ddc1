"""Secrets in URLs are not shown, tokens go only where they are meant to go, and no setting adds a line to a request."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from leasekeeper.api import Credentials, TransportSettings
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.endpoint import Endpoint, locate
from leasekeeper.sqs.http_aiohttp import AiohttpTransport
from leasekeeper.sqs.http_native import NativeTransport
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.sqs.tls import client_context
from leasekeeper.sqs.urls import redacted, without_user_info

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("bare_aws")

SECRET = "SECRET"
TEMPORARY = Credentials(access_key="AK", secret_key="s", token="TOKEN")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:SECRET@h:1/x", "http://***@h:1/x"),
        ("proxy='https://SECRET@h' and http://u:SECRET@i/", "proxy='https://***@h' and http://***@i/"),
        ("http://u:p@SECRET@h/", "http://***@h/"),
        ("http://h/a@b and http://SECRET@[::1]:80", "http://h/a@b and http://***@[::1]:80"),
        ("mail a@b", "mail a@b"),
    ],
)
def test_user_and_password_of_urls_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert without_user_info(text) == shown.replace("***@", "")


@pytest.mark.parametrize(
    "made",
    [
        ClientSettings(endpoint_url="http://u:SECRET@h", proxies={"http": "u:SECRET@proxy:1"}),
        Endpoint(url="http://h/", region="r", loopback=False, proxy="http://u:SECRET@h"),
        TransportSettings(url="http://h/", proxy="http://u:SECRET@h"),
    ],
)
def test_settings_show_no_secret(made: object) -> None:
    assert SECRET not in repr(made)
    assert repr(made).startswith(type(made).__name__)


@pytest.mark.parametrize("variable", [None, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
@pytest.mark.parametrize(
    "url",
    ["http://u:SECRET@h:1", "http://u:SECRET@h:y", "http://u:SECRET@", "u:SECRET@h//x", "http://u:SECRET@h/?q=1"],
)
def test_an_endpoint_with_a_password_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, url: str
) -> None:
    """It would not be sent: calls to SQS are signed."""
    if variable is not None:
        monkeypatch.setenv(variable, url)
    settings = ClientSettings(region="eu-west-1", endpoint_url=url if variable is None else None)
    with pytest.raises(ConfigurationError) as refused:
        locate(settings)
    if "://" in url:
        assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None or SECRET not in str(refused.value.__cause__) or "://" not in url


def test_a_queue_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="it holds a user or a password") as refused:
        QueueAddress.parse("http://u:SECRET@localhost:4566/000000000000/orders")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("proxy", ["https://u:SECRET@h:1", "socks5://u:SECRET@h:1", "http://u:SECRET@h:x", "u:SECRET@"])
def test_a_proxy_that_cannot_work_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy=") as refused:
        NativeTransport(TransportSettings(url="https://sqs.eu-west-1.amazonaws.com/", proxy=proxy))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("make", [NativeTransport, AiohttpTransport])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(make: Any, scheme: str) -> None:
    async def story() -> str:
        proxy = "http://u:SECRET@127.0.0.1:1"
        transport = make(TransportSettings(url=f"{scheme}://sqs.invalid/", proxy=proxy, verify=False))
        with pytest.raises(SqsError) as failed:
            await transport.post(b"{}", {}, 5.0)
        await transport.close()
        return str(failed.value)

    said = asyncio.run(story())
    assert said.startswith("ConnectError: ")
    assert SECRET not in said


@pytest.mark.parametrize("region", ["x\r\nH: v", "eu-west-1\n", "eu west", "", "-x", "\u00e4", "a/b"])
def test_a_region_adds_no_line_to_a_request(region: str) -> None:
    with pytest.raises(ConfigurationError, match="region"):
        locate(ClientSettings(region=region, endpoint_url="http://sqs.example:1"))


@pytest.mark.parametrize("odd", ["\r\n", "\n", "\t", " ", "\x00", "\u00e4"])
def test_a_url_adds_no_line_to_a_request(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    """Python drops line breaks from a URL that it splits, so that what was checked is not what was given."""
    with pytest.raises(ConfigurationError, match="a control character or a letter beyond ASCII"):
        locate(ClientSettings(region="eu-west-1", endpoint_url=f"http://localhost:1/{odd}H: v"))
    with pytest.raises(ConfigurationError, match="a control character or a letter beyond ASCII"):
        QueueAddress.parse(f"http://localhost:1/000000000000/{odd}orders")
    if odd != "\x00":  # no environment can hold one
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://localhost:1/{odd}x")
        with pytest.raises(ConfigurationError):
            locate(ClientSettings(region="eu-west-1"))


class TestSessionToken:
    """Where the token of temporary credentials is sent."""

    ELSEWHERE = QueueAddress.parse("http://sqs.example:9324/000000000000/orders")

    @pytest.mark.parametrize(
        ("settings", "sent"),
        [
            (ClientSettings(region="eu-west-1"), True),
            (ClientSettings(region="eu-west-1", endpoint_url="http://sqs.example:9324"), True),
            (ClientSettings(region="eu-west-1", endpoint_url="http://sqs.example:9324", queue=ELSEWHERE), True),
            (ClientSettings(region="eu-west-1", queue=ELSEWHERE), False),
            (ClientSettings(queue=QueueAddress.parse("https://sqs.eu-west-1.example/000000000000/orders")), False),
            (ClientSettings(queue=QueueAddress.parse("http://localhost:9324/000000000000/orders")), True),
        ],
    )
    def test_it_goes_to_aws_to_this_machine_and_to_configured_endpoints(
        self, settings: ClientSettings, sent: bool
    ) -> None:
        assert locate(settings).session_token is sent

    def test_it_is_not_sent_to_a_host_that_only_the_queues_url_names(
        self, one_kit: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("leasekeeper.sqs.endpoint._is_loopback", lambda _: False)

        async def story() -> None:
            async with one_kit.serve() as script:
                queue = QueueAddress.parse(f"{script.url}/000000000000/orders")
                for endpoint in (None, script.url):
                    settings = {"credentials": TEMPORARY, "queue": queue}
                    async with await one_kit.connect(endpoint, **settings) as client:
                        await client.delete(str(queue.url), "r")
                first, second = script.asked
                assert "x-amz-security-token" not in first.headers
                assert "security-token" not in first.headers["authorization"]
                assert second.headers["x-amz-security-token"] == "TOKEN"

        with caplog.at_level(logging.WARNING, "leasekeeper.sqs"):
            asyncio.run(story())
        (record,) = caplog.records
        assert record.getMessage().startswith("the session token is not sent to http://127.0.0.1:")
        assert "TOKEN" not in record.getMessage()


def test_a_ca_bundle_replaces_the_systems_certificates(tmp_path: Path) -> None:
    """As in boto3: a company that gives one trusts no other authority."""
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    context = client_context(TransportSettings(url="https://h/", ca_bundle=str(bundle)))
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("verify", [True, False])
def test_certificates_of_companies_are_read_as_boto3_reads_them(verify: bool) -> None:
    """Python 3.13 began to refuse those that break a rule of RFC 5280; the same program must run on each Python."""
    context = client_context(TransportSettings(url="https://h/", verify=verify))
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
