"""Where calls go and how: endpoint, region, proxy and certificates, as botocore's rules and configuration say.

Asked once when a client connects, on a thread of its own, for botocore reads files. It promises boto3's own answers.
"""

from __future__ import annotations

import functools
import io
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.loaders import create_loader
from botocore.utils import get_environ_proxies
from urllib3 import HTTPResponse

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.address import region_of

if TYPE_CHECKING:
    from leasekeeper.sqs.settings import ClientSettings

LOCAL_REGION = "us-east-1"
"""The region that a server on this machine is given when nobody names one: signatures need some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where calls go and how.

    Attributes:
        url: what is posted to.
        region: what calls are signed for.
        loopback: whether the URL leads to this machine.
        proxy: URL of the proxy to go through.
        ca_bundle: PEM file of certificates to trust as well as the system's.
    """

    url: str
    region: str
    loopback: bool
    proxy: str | None = None
    ca_bundle: str | None = None


def new_session(settings: ClientSettings) -> Any:
    """A botocore session for the settings' profile."""
    session = botocore.session.Session(profile=settings.profile)
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@functools.cache
def _loader(data_path: str | None) -> Any:
    """The reader of botocore's models; it keeps what it has read, which would cost each session a fifth of a second."""
    return create_loader(data_path)


def locate(settings: ClientSettings) -> Endpoint:
    """Find the endpoint that the settings and the environment mean; blocks on files.

    Raises:
        ConfigurationError: no region, no such profile, or flags that contradict each other.
    """
    try:
        return _locate(settings, new_session(settings))
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"no SQS endpoint follows from region={settings.region!r}, endpoint_url={settings.endpoint_url!r}, "
            f"profile={settings.profile!r} and the AWS configuration of the environment: {error}"
        ) from error


def _locate(settings: ClientSettings, session: Any) -> Endpoint:
    queue = settings.queue
    region = (
        settings.region
        or (queue.region if queue else None)
        or session.get_config_variable("region")
        or os.environ.get("AWS_REGION")  # botocore passes it by; Lambda and ECS set it, and all other SDKs read it
    )
    url, custom = _url(session, settings, region or LOCAL_REGION)
    host = urlsplit(url).hostname or ""
    loopback = _is_loopback(host)
    if region is None and custom:
        region = region_of(host) or (LOCAL_REGION if loopback else None)
    if region is None:
        raise ConfigurationError(
            "no AWS region is known: set AWS_DEFAULT_REGION (or AWS_REGION), `region` in the profile of ~/.aws/config, "
            "pass region=..., or give the queue by its URL or ARN"
        )
    return Endpoint(
        url=url,
        region=region,
        loopback=loopback,
        proxy=_proxy(settings, url),
        ca_bundle=settings.ca_bundle or session.get_config_variable("ca_bundle") or _roots_where_there_are_none(),
    )


def _url(session: Any, settings: ClientSettings, region: str) -> tuple[str, bool]:
    """The URL to post to, and whether it is another than the region's own."""
    if settings.endpoint_url is not None:
        if settings.use_fips or settings.use_dualstack:
            raise ConfigurationError(
                f"endpoint_url={settings.endpoint_url!r} leaves no choice of a FIPS or dual-stack endpoint: "
                "leave out use_fips and use_dualstack, or endpoint_url"
            )
        return _with_path(settings.endpoint_url), True
    url = _ask(session, settings, region)
    own = _ask(session, settings, region, configured=False)
    if url == own and settings.queue is not None and settings.queue.endpoint is not None:
        # A queue of somebody else's server, and no endpoint is configured: that server is meant.
        return _with_path(settings.queue.endpoint), True
    return _with_path(url), url != own


def _with_path(url: str) -> str:
    parts = urlsplit(url)
    _ = parts.port  # raises when it is none
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(
            f"endpoint_url={url!r} is not one: give scheme, host and port, e.g. http://localhost:4566"
        )
    return url if parts.path else f"{url}/"


def _ask(session: Any, settings: ClientSettings, region: str, *, configured: bool = True) -> str:
    """Where botocore would send a call: only on the way out are all of its rules applied, so we stop it there."""
    client = session.create_client(
        "sqs",
        region_name=region,
        config=Config(
            signature_version=UNSIGNED,
            use_fips_endpoint=settings.use_fips,
            use_dualstack_endpoint=settings.use_dualstack,
            ignore_configured_endpoint_urls=None if configured else True,
        ),
    )
    urls: list[str] = []

    def stop(request: Any, **_: object) -> AWSResponse:
        urls.append(request.url)
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(b"{}"), preload_content=False))

    client.meta.events.register("before-send.sqs.ListQueues", stop)
    client.list_queues()
    client.close()
    return urls[0]


def _proxy(settings: ClientSettings, url: str) -> str | None:
    proxies = get_environ_proxies(url) if settings.proxies is None else settings.proxies
    proxy: str | None = proxies.get(urlsplit(url).scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy or None


def _roots_where_there_are_none() -> str | None:
    """The certificates that botocore brings, where the system has none, such as in a minimal container; else None."""
    system = ssl.get_default_verify_paths()
    some = system.cafile and Path(system.cafile).stat().st_size
    some = some or (system.capath and any(Path(system.capath).iterdir()))
    return None if some else get_cert_path(True)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".localhost.localstack.cloud")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
