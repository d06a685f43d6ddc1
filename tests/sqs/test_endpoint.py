"""Where calls go is what botocore's own client would answer."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from urllib3 import HTTPResponse

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.endpoint import Endpoint, locate
from leasekeeper.sqs.services import STEP_FUNCTIONS
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("bare_aws")

CLOUD = "sqs.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("region", "fips", "dualstack", "url"),
    [
        ("eu-west-1", None, None, f"https://{CLOUD}/"),
        ("us-east-1", True, None, "https://sqs-fips.us-east-1.amazonaws.com/"),
        ("us-east-1", None, True, "https://sqs.us-east-1.api.aws/"),
        ("us-east-1", True, True, "https://sqs-fips.us-east-1.api.aws/"),
        ("us-gov-west-1", True, None, "https://sqs.us-gov-west-1.amazonaws.com/"),
        ("cn-north-1", None, None, "https://sqs.cn-north-1.amazonaws.com.cn/"),
        ("cn-north-1", None, True, "https://sqs.cn-north-1.api.amazonwebservices.com.cn/"),
        ("eusc-de-east-1", None, None, "https://sqs.eusc-de-east-1.amazonaws.eu/"),
        ("us-iso-east-1", True, None, "https://sqs-fips.us-iso-east-1.c2s.ic.gov/"),
        ("xx-new-9", None, None, "https://sqs.xx-new-9.amazonaws.com/"),
    ],
)
def test_regions_and_flags_lead_where_botocore_goes(
    region: str, fips: bool | None, dualstack: bool | None, url: str
) -> None:
    settings = ClientSettings(region=region, use_fips=fips, use_dualstack=dualstack)
    assert locate(settings) == Endpoint(url=url, region=region, loopback=False)


def test_another_service_has_its_own_endpoint_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://states.cn-north-1.amazonaws.com.cn/"
    settings = ClientSettings(region="cn-north-1", service=STEP_FUNCTIONS)
    assert locate(settings) == Endpoint(url=url, region="cn-north-1", loopback=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://localhost:1")
    assert locate(settings).url == url
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", "http://localhost:2")
    assert locate(settings).url == "http://localhost:2/"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", "localhost")
    with pytest.raises(ConfigurationError, match=r"no Step Functions endpoint .*AWS_ENDPOINT_URL_SFN"):
        locate(settings)


CONFIGURATIONS: list[tuple[dict[str, str], str]] = [
    ({"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_FIPS_ENDPOINT": "true"}, ""),
    ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, ""),
    ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://all.example:1"}, ""),
    (
        {
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": "http://all.example:1",
            "AWS_ENDPOINT_URL_SQS": "http://sqs.example:2/path",
        },
        "",
    ),
    (
        {
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": "http://all.example:1",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        },
        "",
    ),
    ({}, "[default]\nregion = ap-southeast-2\n"),
    (
        {"AWS_PROFILE": "dev"},
        "[profile dev]\nregion = eu-west-1\nservices = here\n[services here]\nsqs =\n  endpoint_url = http://mine.example:3\n",
    ),
]


@pytest.mark.parametrize(("environment", "config"), CONFIGURATIONS)
def test_every_configuration_leads_where_botocore_goes(
    environment: dict[str, str], config: str, bare_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (bare_aws / "config").write_text(config)
    client = botocore.session.Session().create_client("sqs", config=Config(signature_version=UNSIGNED))
    went: list[str] = []

    def stop(request: Any, **_: Any) -> AWSResponse:
        went.append(request.url)
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(b"{}"), preload_content=False))

    client.meta.events.register("before-send.sqs", stop)
    client.list_queues()
    found = locate(ClientSettings())
    assert [found.url] == went
    assert found.region == client.meta.region_name


class TestRegion:
    """Where the region comes from, in this order."""

    def test_the_option_then_the_queue_then_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
        arn = QueueAddress.parse("arn:aws:sqs:eu-west-1:123456789012:orders")
        assert locate(ClientSettings(region="ca-central-1", queue=arn)).region == "ca-central-1"
        assert locate(ClientSettings(queue=arn)).url == f"https://{CLOUD}/"
        assert locate(ClientSettings(queue=QueueAddress.parse("orders"))).region == "us-east-2"

    def test_aws_region_is_read_where_botocore_passes_it_by(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert locate(ClientSettings()).region == "eu-west-1"
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
        assert locate(ClientSettings()).region == "us-east-2"

    def test_a_custom_endpoint_may_name_it(self) -> None:
        vpc = "https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com"
        assert locate(ClientSettings(endpoint_url=vpc)) == Endpoint(url=f"{vpc}/", region="eu-west-1", loopback=False)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "sqs.localhost", "localhost.localhost"])
    def test_a_server_on_this_machine_needs_none(self, host: str) -> None:
        found = locate(ClientSettings(endpoint_url=f"http://{host}:9324"))
        assert found == Endpoint(url=f"http://{host}:9324/", region="us-east-1", loopback=True)

    @pytest.mark.parametrize("endpoint", [None, "http://sqs.example:9324"])
    def test_without_one_the_error_says_what_to_set(self, endpoint: str | None) -> None:
        with pytest.raises(ConfigurationError) as refused:
            locate(ClientSettings(endpoint_url=endpoint))
        assert str(refused.value).startswith("no AWS region is known for SQS: set AWS_DEFAULT_REGION (or AWS_REGION), ")


class TestQueueOfAnotherServer:
    """A queue's URL on a server that is not AWS names the endpoint, unless one is configured."""

    QUEUE = QueueAddress.parse("http://localhost:9324/000000000000/orders")

    def test_its_server_is_called(self) -> None:
        assert locate(ClientSettings(queue=self.QUEUE)) == Endpoint(
            url="http://localhost:9324/", region="us-east-1", loopback=True
        )

    def test_a_configured_endpoint_goes_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://localhost:1")
        assert locate(ClientSettings(queue=self.QUEUE)).url == "http://localhost:1/"
        explicit = ClientSettings(queue=self.QUEUE, endpoint_url="http://localhost:2")
        assert locate(explicit).url == "http://localhost:2/"

    def test_a_url_of_aws_is_never_connected_to(self) -> None:
        legacy = QueueAddress.parse("https://eu-west-1.queue.amazonaws.com/123456789012/orders")
        assert locate(ClientSettings(queue=legacy)).url == f"https://{CLOUD}/"


class TestProxy:
    """Proxies are those of botocore."""

    def test_the_environments_proxy_is_taken_but_for_those_excepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        assert locate(ClientSettings(region="eu-west-1")).proxy == "http://proxy.example:3128"
        assert locate(ClientSettings(region="eu-west-1", proxies={})).proxy is None
        monkeypatch.setenv("NO_PROXY", "amazonaws.com")
        assert locate(ClientSettings(region="eu-west-1")).proxy is None

    def test_a_proxy_may_leave_out_its_scheme(self) -> None:
        settings = ClientSettings(region="eu-west-1", proxies={"https": "proxy.example:3128", "http": "x"})
        assert locate(settings).proxy == "http://proxy.example:3128"


def test_the_ca_bundle_is_the_options_then_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/corporate.pem")
    assert locate(ClientSettings(region="eu-west-1")).ca_bundle == "/etc/corporate.pem"
    assert locate(ClientSettings(region="eu-west-1", ca_bundle="mine.pem")).ca_bundle == "mine.pem"


def test_a_system_without_certificates_is_given_those_that_botocore_brings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_kit: Any
) -> None:
    """A minimal container has none, and a transport without certificates cannot be made."""
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    found = locate(ClientSettings(region="eu-west-1"))
    assert found.ca_bundle is not None
    assert found.ca_bundle.endswith("cacert.pem")

    async def story() -> None:
        async with await one_kit.connect("https://localhost:1"):
            pass

    asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ClientSettings(profile="nobody", region="eu-west-1"), "there is no AWS profile 'nobody'"),
        (ClientSettings(region="not a region!"), "region='not a region!'"),
        (
            ClientSettings(region="eu-west-1", endpoint_url="localhost:9324"),
            "endpoint_url='localhost:9324' is not an endpoint",
        ),
        (ClientSettings(region="eu-west-1", endpoint_url="http://x:y"), "endpoint_url='http://x:y'"),
        (ClientSettings(region="eu-west-1", endpoint_url="http://localhost:1", use_fips=True), "no choice of a FIPS"),
    ],
)
def test_what_cannot_work_is_refused_with_its_value(settings: ClientSettings, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        locate(settings)
    assert said in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9324.", "http://127.0.0.1:99999", "ftp://127.0.0.1", "http:///path"])
def test_an_endpoint_of_the_environment_is_checked_like_one_of_the_options(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A full stop copied with the address from a sentence was a traceback."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
    with pytest.raises(ConfigurationError, match=r"endpoint"):
        locate(ClientSettings(region="eu-west-1"))


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
def test_an_endpoint_without_a_scheme_is_refused_with_what_to_write(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "127.0.0.1:9324")
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:9324; give scheme, host and port, e\.g\. http://local"):
        locate(ClientSettings(region="eu-west-1"))
