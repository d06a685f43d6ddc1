"""Our signatures are botocore's, byte for byte."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.api import Credentials
from leasekeeper.sqs.services import SQS, STEP_FUNCTIONS, Service
from leasekeeper.sqs.signer import FIXED_HEADERS, Signer
from leasekeeper.sqs.urls import host_of

WORDS = st.text(string.ascii_letters + string.digits + "/+=-_", min_size=1, max_size=60)
HOSTS = st.sampled_from([
    "https://sqs.eu-west-1.amazonaws.com/",
    "https://sqs.eu-west-1.amazonaws.com:443/",
    "http://localhost:9324/",
    "http://127.0.0.1:80/",
    "https://127.0.0.1:80/",
    "http://[::1]:4566/",
    "https://vpce-0a1b.sqs.us-east-1.vpce.amazonaws.com/",
    "http://gateway.example:8080/sqs/eu west/",
    "http://gateway.example/~a/b%2Fc",
])  # fmt: skip
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1", "ap-southeast-2"])
OPERATIONS = st.sampled_from(["ReceiveMessage", "DeleteMessageBatch", "SendMessage", "GetQueueUrl"])
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
CREDENTIALS = st.builds(Credentials, access_key=WORDS, secret_key=WORDS, token=st.none() | WORDS, expiry=st.just(None))


def by_botocore(  # noqa: PLR0917 - as many things make a signature
    url: str,
    region: str,
    at: datetime,
    credentials: Credentials,
    operation: str,
    body: bytes,
    *,
    service: Service = SQS,
) -> dict[str, str]:
    """What botocore's signer adds, at a time of our choosing: the steps of its `add_auth`, which reads the clock."""
    request = AWSRequest("POST", url, {**FIXED_HEADERS, "X-Amz-Target": f"{service.target}.{operation}"}, body)
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    auth = SigV4Auth(
        BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token),
        service.signing_name,
        region,
    )
    auth._modify_request_before_signing(request)
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(to_sign, request))
    return {name: value for name, value in request.headers.items() if name not in FIXED_HEADERS}


def as_sent(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@given(HOSTS, REGIONS, TIMES, CREDENTIALS, OPERATIONS, st.binary(max_size=5000))
def test_every_signature_is_botocores(  # noqa: PLR0917 - as above
    url: str, region: str, at: datetime, credentials: Credentials, operation: str, body: bytes
) -> None:
    ours = Signer(url, region, clock=at.timestamp).sign(credentials, operation, body)
    assert as_sent(ours) == as_sent(by_botocore(url, region, at, credentials, operation, body))


@given(HOSTS, REGIONS, TIMES, CREDENTIALS, st.binary(max_size=500))
def test_signatures_for_step_functions_are_botocores(
    url: str, region: str, at: datetime, credentials: Credentials, body: bytes
) -> None:
    signer = Signer(url, region, service=STEP_FUNCTIONS, clock=at.timestamp)
    theirs = by_botocore(url, region, at, credentials, "SendTaskSuccess", body, service=STEP_FUNCTIONS)
    assert as_sent(signer.sign(credentials, "SendTaskSuccess", body)) == as_sent(theirs)


@given(TIMES, st.lists(st.tuples(st.integers(0, 200_000), CREDENTIALS, st.binary(max_size=50)), max_size=4))
def test_what_a_signer_keeps_never_shows(at: datetime, calls: list[tuple[int, Credentials, bytes]]) -> None:
    """Seconds, days and credentials may change between any two calls; what was prepared for the last is not used."""
    now = [at.timestamp()]
    signer = Signer("http://localhost:9324/", "eu-west-1", clock=lambda: now[0])
    for seconds, credentials, body in calls:
        now[0] += seconds
        expected = by_botocore(
            "http://localhost:9324/", "eu-west-1", datetime.fromtimestamp(now[0], UTC), credentials, "SendMessage", body
        )
        assert as_sent(signer.sign(credentials, "SendMessage", body)) == as_sent(expected)


KEYS = Credentials(access_key="AK", secret_key="s")
NOW = 1_793_872_800.0
"""2026-11-05 10:00:00 UTC."""


@pytest.mark.parametrize(
    ("date", "adjusted", "signed"),
    [
        ("Thu, 05 Nov 2026 13:00:00 GMT", True, "20261105T130000Z"),
        ("Thu, 05 Nov 2026 07:00:00 GMT", True, "20261105T070000Z"),
        ("Thu, 05 Nov 2026 10:03:59 GMT", False, "20261105T100000Z"),
        ("Thu, 05 Nov 2026 13:00:00 +99999999999999", False, "20261105T100000Z"),
        ("Thu, 05 Nov 99999 13:00:00 GMT", False, "20261105T100000Z"),
        ("tomorrow", False, "20261105T100000Z"),
        ("", False, "20261105T100000Z"),
        (None, False, "20261105T100000Z"),
    ],
)
def test_a_clock_that_is_minutes_off_follows_the_servers(date: str | None, adjusted: bool, signed: str) -> None:
    signer = Signer("http://localhost/", "eu-west-1", clock=lambda: NOW)
    assert signer.adjust_clock(date) is adjusted
    assert signer.sign(KEYS, "SendMessage", b"{}")["X-Amz-Date"] == signed
    assert signer.adjust_clock(date) is False


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://sqs.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com"),
        ("https://example.org:443", "example.org"),
        ("http://example.org:443", "example.org:443"),
        ("http://[::1]:4566/", "[::1]:4566"),
    ],
)
def test_the_host_header_leaves_out_the_schemes_own_port(url: str, host: str) -> None:
    assert host_of(url) == host


def test_credentials_show_no_secret() -> None:
    shown = repr(Credentials(access_key="AK", secret_key="hush", token="hush"))
    assert shown == "Credentials(access_key='AK', expiry=None)"
