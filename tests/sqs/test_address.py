"""A queue's name, URL and ARN all lead to it; nothing else does."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.address import QueueAddress

A = "123456789012"
NAMES = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=80) | st.text(
    string.ascii_letters + string.digits + "-_", min_size=1, max_size=75
).map("{}.fifo".format)
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1"])
ACCOUNTS = st.text(string.digits, min_size=12, max_size=12)


@given(NAMES)
def test_a_name_is_a_queue(name: str) -> None:
    assert QueueAddress.parse(name) == QueueAddress(name=name)
    assert QueueAddress.parse(name).fifo is name.endswith(".fifo")


@given(NAMES, REGIONS, ACCOUNTS, st.sampled_from(["aws", "aws-cn", "aws-us-gov", "aws-eusc"]))
def test_an_arn_names_region_and_account(name: str, region: str, account: str, partition: str) -> None:
    address = QueueAddress.parse(f"arn:{partition}:sqs:{region}:{account}:{name}")
    assert address == QueueAddress(name=name, account=account, region=region)


@given(NAMES, REGIONS, ACCOUNTS)
def test_a_url_of_aws_names_region_and_account_and_is_no_place_to_connect_to(
    name: str, region: str, account: str
) -> None:
    url = f"https://sqs.{region}.amazonaws.com/{account}/{name}"
    assert QueueAddress.parse(url) == QueueAddress(name=name, url=url, account=account, region=region)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("queue.amazonaws.com", "us-east-1"),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
        ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("sqs.eu-west-1.api.aws", "eu-west-1"),
        ("sqs.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"),
        ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("vpce-0a1b2c-3d4e.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
    ],
)
def test_every_host_of_aws_names_its_region(host: str, region: str) -> None:
    address = QueueAddress.parse(f"https://{host}/{A}/orders")
    assert (address.region, address.account, address.endpoint) == (region, A, None)


@pytest.mark.parametrize(
    ("url", "account", "region", "endpoint"),
    [
        (f"http://localhost:4566/{A}/orders", A, None, "http://localhost:4566"),
        ("http://localhost:9324/queue/orders", None, None, "http://localhost:9324"),
        ("http://127.0.0.1:4100/orders", None, None, "http://127.0.0.1:4100"),
        ("http://[::1]:4100/orders", None, None, "http://[::1]:4100"),
        (
            f"http://sqs.eu-west-1.localhost.localstack.cloud:4566/{A}/orders",
            A,
            "eu-west-1",
            "http://sqs.eu-west-1.localhost.localstack.cloud:4566",
        ),
        (f"https://amazonaws.com.example.org/{A}/orders", A, None, "https://amazonaws.com.example.org"),
    ],
)
def test_a_url_of_another_server_names_where_to_connect(
    url: str, account: str | None, region: str | None, endpoint: str
) -> None:
    address = QueueAddress.parse(url)
    assert (address.name, address.url, address.account) == ("orders", url, account)
    assert (address.region, address.endpoint) == (region, endpoint)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "orders queue",
        "orders.fifo.fifo",
        "fifo.orders",
        "x" * 81,
        "x" * 76 + ".fifo",
        "arn:aws:sns:eu-west-1:123456789012:orders",
        "arn:aws:sqs:eu-west-1:orders",
        "arn:aws:sqs:nowhere:123456789012:orders",
        "arn:aws:sqs:eu-west-1:1234:orders",
        "arn:aws:sqs:eu-west-1:123456789012:or ders",
        "https://sqs.eu-west-1.amazonaws.com/orders",
        "https://sqs.eu-west-1.amazonaws.com/1234/orders",
        "https://sqs.eu-west-1.amazonaws.com/",
        f"https://sqs.eu-west-1.amazonaws.com/{A}/orders?Action=SendMessage",
        f"ftp://sqs.eu-west-1.amazonaws.com/{A}/orders",
        f"https://localhost:port/{A}/orders",
        f"https:///{A}/orders",
    ],
)
def test_anything_else_is_refused_with_the_three_forms(reference: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        QueueAddress.parse(reference)
    sentence = str(refused.value)
    assert sentence.startswith(f"{reference!r} is not a queue: ")
    assert "Give a name (orders), a URL (https://sqs." in sentence
    assert "an ARN (arn:aws:sqs:eu-west-1:123456789012:orders)" in sentence
