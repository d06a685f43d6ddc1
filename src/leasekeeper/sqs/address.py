"""Where a queue is, read from its name, its URL or its ARN.

Used wherever a user gives a queue. It promises that a malformed reference is refused before any call is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.urls import UNSAFE, check_endpoint, redacted

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
NAME_RULE = "1 to 80 letters, digits, - and _; a FIFO queue's ends in .fifo"
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ACCOUNT = re.compile(r"\d{12}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
_HOST_WITH_REGION = re.compile(
    rf"(?:vpce-[a-z0-9-]+\.)?(?:sqs|sqs-fips)\.({_REGION.pattern})\..+"  # AWS, its VPC endpoints, LocalStack
    rf"|({_REGION.pattern})\.queue\..+"  # the legacy form
)
_LEGACY_HOST = "queue.amazonaws.com"  # us-east-1, from before SQS named regions
_AWS_DOMAINS = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.aws",
    ".api.aws.ic.gov",
    ".api.aws.scloud",
    ".api.amazonwebservices.com.cn",
    ".api.amazonwebservices.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAddress:
    """Where a queue is, as far as its reference says; made by `parse`.

    Attributes:
        name: the queue's name, `.fifo` included.
        url: its URL, if it was given by its URL.
        account: the twelve digits of the account that owns it.
        region: its region.
        endpoint: scheme, host and port of its URL if that is not a host of AWS, e.g. a local server. A URL of AWS is
            a name and not an address: SQS returns URLs of legacy hosts, which VPC endpoints do not cover.
    """

    name: str
    url: str | None = None
    account: str | None = None
    region: str | None = None
    endpoint: str | None = None

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue: SQS makes the name say so."""
        return self.name.endswith(".fifo")

    @classmethod
    def parse(cls, reference: str) -> QueueAddress:
        """Read a name (`orders`), a URL (`https://sqs.eu-west-1.amazonaws.com/123456789012/orders`) or an ARN.

        Raises:
            ConfigurationError: it is none of these.
        """
        if not isinstance(reference, str):
            given: object = reference
            raise ConfigurationError(
                f"queue={given!r:.80}: must be text: the queue's name, URL or ARN. If it comes from an environment "
                "variable, check that the variable is set"
            )
        if reference.startswith("arn:"):
            return _from_arn(reference)
        if "://" in reference:
            return _from_url(reference)
        if _NAME.fullmatch(reference) is None:
            raise _malformed(reference, f"a name has {NAME_RULE}")
        return cls(name=reference)


def is_queue_name(text: str) -> bool:
    """Whether a queue may have that name."""
    return _NAME.fullmatch(text) is not None


def check_region(region: str | None) -> None:
    """Refuse a region that no host name can hold, with a `ConfigurationError`."""
    if region and _HOST_LABEL.fullmatch(region) is None:
        raise ConfigurationError(f"region={region!r}: a region has letters, digits and hyphens only, e.g. eu-west-1")


def check_place(option: str, value: Any) -> None:
    """Refuse a value of the option `region` or `endpoint_url` that cannot be one, with a `ConfigurationError`."""
    if isinstance(value, str) and option == "region":
        check_region(value)
    elif isinstance(value, str) and option == "endpoint_url":
        check_endpoint(value, option)


def address_of(queue: str, region: str | None) -> QueueAddress:
    """The address of a queue for a consumer with the option `region`.

    Raises:
        ConfigurationError: the queue is malformed, or in another region.
    """
    address = QueueAddress.parse(queue)
    check_region(region)
    if region and address.region and region != address.region:
        raise ConfigurationError(
            f"region={region!r} with queue {queue!r}: the queue is in {address.region}; leave region out, or give the "
            "queue of that region"
        )
    return address


def _from_arn(reference: str) -> QueueAddress:
    parts = reference.split(":")
    if len(parts) == 6 and parts[2] != "sqs":
        raise _malformed(reference, f"it is an ARN of {parts[2] or 'no service'}")
    if len(parts) != 6:
        raise _malformed(reference, "an ARN of SQS has six parts")
    _, _, _, region, account, name = parts
    if not (_REGION.fullmatch(region) and _ACCOUNT.fullmatch(account) and _NAME.fullmatch(name)):
        raise _malformed(reference, "its region, its account of twelve digits or its name is not one")
    return QueueAddress(name=name, account=account, region=region)


def _from_url(reference: str) -> QueueAddress:
    if UNSAFE.search(reference):
        raise _malformed(reference, "it holds a blank, a control character or a letter beyond ASCII")
    try:
        parts = urlsplit(reference)
        host, _ = parts.hostname or "", parts.port  # reading the port checks it
    except ValueError as error:
        raise _malformed(reference, redacted(str(error))) from None
    if "@" in parts.netloc:
        raise _malformed(reference, "it holds a user or a password, which SQS has no use for")
    path = [part for part in parts.path.split("/") if part]
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or not path:
        raise _malformed(reference, "a queue's URL is http(s)://host/account/name")
    if _NAME.fullmatch(path[-1]) is None:
        raise _malformed(reference, f"{path[-1]!r} is not a queue's name")
    account = path[-2] if len(path) > 1 and _ACCOUNT.fullmatch(path[-2]) else None
    ours = host == _LEGACY_HOST or host.endswith(_AWS_DOMAINS)
    if ours and account is None:
        raise _malformed(reference, "before the name there must be an account of twelve digits")
    return QueueAddress(
        name=path[-1],
        url=reference,
        account=account,
        region=region_of(host),
        endpoint=None if ours else f"{parts.scheme}://{parts.netloc}",
    )


def region_of(host: str) -> str | None:
    """The region that a host of SQS names, or None."""
    if host == _LEGACY_HOST:
        return "us-east-1"
    found = _HOST_WITH_REGION.fullmatch(host)
    return (found[1] or found[2]) if found else None


def _malformed(reference: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{redacted(reference)!r} is not a queue: {why}. Give a name (orders), a URL "
        "(https://sqs.eu-west-1.amazonaws.com/123456789012/orders) or an ARN "
        "(arn:aws:sqs:eu-west-1:123456789012:orders)"
    )
