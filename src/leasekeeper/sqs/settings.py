"""How to reach SQS, or another service that speaks its protocol.

Read once by `SqsClient.connect`. It promises that what is not set here comes from where boto3 takes it: the
environment, the profile, the metadata services.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from leasekeeper.sqs.services import SQS, Service
from leasekeeper.sqs.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import Credentials, CredentialsProvider, TransportFactory
    from leasekeeper.options import Options
    from leasekeeper.sqs.address import QueueAddress


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ClientSettings:
    """How to reach SQS.

    Attributes:
        region: e.g. `eu-west-1`; None takes the queue's, then `AWS_DEFAULT_REGION`, the profile's, then `AWS_REGION`.
        endpoint_url: where to send calls; None takes `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL`, the profile's
            `services` section, then the region's own endpoint.
        profile: of ~/.aws/config; None takes `AWS_PROFILE`.
        credentials: credentials, or a function (plain or async) that returns some; None asks botocore's chain.
        queue: the queue to use; its URL or ARN gives the region, and the endpoint when it is not on AWS.
        http: the HTTP client: `native` (ours), `aiohttp` (an extra), or a function that makes a `Transport`.
        proxies: scheme to proxy URL; None takes `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, an empty one uses none.
        ca_bundle: PEM file of the certificates to trust, instead of the system's as in boto3; None takes
            `AWS_CA_BUNDLE`, then the profile's, then the system's certificates.
        verify_tls: whether the server's certificate is checked.
        use_fips: the region's FIPS endpoint; None takes `AWS_USE_FIPS_ENDPOINT`, then the profile's.
        use_dualstack: the region's IPv6 endpoint; None takes `AWS_USE_DUALSTACK_ENDPOINT`, then the profile's.
        connect_timeout: seconds to establish a connection, TLS included.
        call_timeout: seconds until a call's answer must begin, connecting included; receives have their wait and 5
            seconds. An answer that has begun may take 60 seconds more while its bytes keep arriving.
        service: the service to reach.
        verify_md5: whether to check bodies and attributes against the digests that come with them.
    """

    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    credentials: Credentials | CredentialsProvider | None = field(default=None, repr=False)
    queue: QueueAddress | None = None
    http: Literal["native", "aiohttp"] | TransportFactory = "native"
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    verify_tls: bool = True
    use_fips: bool | None = None
    use_dualstack: bool | None = None
    connect_timeout: float = 5.0
    call_timeout: float = 10.0
    service: Service = SQS
    verify_md5: bool = True

    def __repr__(self) -> str:
        given = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if each.repr and getattr(self, each.name) != each.default
        ]
        return redacted(f"ClientSettings({', '.join(given)})")


def settings_for(queue: QueueAddress, options: Options) -> ClientSettings:
    """How a consumer with these options reaches its queue."""
    return ClientSettings(
        region=options.region,
        endpoint_url=options.endpoint_url,
        profile=options.profile,
        credentials=options.credentials,
        queue=queue,
        http=options.http,
        verify_md5=options.verify_md5,
    )
