"""How to reach SQS, as the user says it.

Read once by `SqsClient.connect`. It promises that whatever is not said here is taken from where boto3 takes it:
the environment, the profile, the metadata services.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import Credentials, CredentialsProvider, TransportFactory
    from leasekeeper.sqs.address import QueueAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How to reach SQS.

    Attributes:
        region: e.g. `eu-west-1`; None takes the queue's, then `AWS_DEFAULT_REGION`, the profile's, then `AWS_REGION`.
        endpoint_url: where to send calls; None takes `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL`, the profile's
            `services` section, then the region's own endpoint.
        profile: of ~/.aws/config; None takes `AWS_PROFILE`.
        credentials: fixed ones, or a function (plain or async) that answers with some; None asks botocore's chain.
        queue: the queue to be used; its URL or ARN gives the region, and the endpoint when it is no queue of AWS.
        http: who speaks HTTP: `native` (ours), `aiohttp` (an extra), or a function that makes a `Transport`.
        proxies: scheme to proxy URL; None takes `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, an empty one uses none.
        ca_bundle: PEM file of certificates to trust as well; None takes `AWS_CA_BUNDLE`, then the profile's.
        verify_tls: whether the server's certificate is checked.
        use_fips: the region's FIPS endpoint; None takes `AWS_USE_FIPS_ENDPOINT`, then the profile's.
        use_dualstack: the region's IPv6 endpoint; None takes `AWS_USE_DUALSTACK_ENDPOINT`, then the profile's.
        connect_timeout: seconds to establish a connection, TLS included.
        call_timeout: seconds a call may take, connecting included; receives have their wait and 5 seconds.
        verify_md5: whether bodies and attributes are checked against the digests that come with them.
    """

    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    credentials: Credentials | CredentialsProvider | None = field(default=None, repr=False)
    queue: QueueAddress | None = None
    http: Literal["native", "aiohttp"] | TransportFactory = "native"
    proxies: Mapping[str, str] | None = None
    ca_bundle: str | None = None
    verify_tls: bool = True
    use_fips: bool | None = None
    use_dualstack: bool | None = None
    connect_timeout: float = 5.0
    call_timeout: float = 10.0
    verify_md5: bool = True
