"""Where calls go and how: endpoint, region, proxy and certificates, by botocore's rules and configuration.

Used once when a client connects, in a thread, because botocore reads files. It promises boto3's own answers, and that
nothing in them can add a line to a request or send a session token to a host that was not configured.
"""

from __future__ import annotations

import copy
import functools
import io
import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ConfigParseError, ProfileNotFound
from botocore.hooks import HierarchicalEmitter
from botocore.httpsession import get_cert_path
from botocore.loaders import create_loader
from botocore.utils import get_environ_proxies
from urllib3 import HTTPResponse

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.address import check_region, region_of
from leasekeeper.sqs.aws_errors import explained
from leasekeeper.sqs.urls import check_endpoint, redacted

if TYPE_CHECKING:
    from leasekeeper.sqs.settings import ClientSettings

LOCAL_REGION = "us-east-1"
"""The region of a server on this machine when none is configured: signatures need one."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Endpoint:
    """Where calls go and how.

    Attributes:
        url: the URL to post to.
        region: the region that calls are signed for.
        loopback: whether the URL leads to this machine.
        session_token: whether the session token of temporary credentials is sent there. It is not sent to a host that
            only the queue's URL names: such a URL may come from a message or a form.
        proxy: URL of the proxy to go through; it may hold a password.
        ca_bundle: PEM file of certificates to trust instead of the system's.
    """

    url: str
    region: str
    loopback: bool
    session_token: bool = True
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None


def new_session(settings: ClientSettings) -> Any:
    """A botocore session for the settings' profile."""
    hooks = copy.copy(_hooks())
    session = botocore.session.Session(profile=settings.profile, event_hooks=hooks, include_builtin_handlers=False)
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@functools.cache
def _hooks() -> Any:
    """What botocore hooks into its own events, for copies: to register all of it takes more than the whole rest."""
    hooks = HierarchicalEmitter()
    botocore.session.Session(event_hooks=hooks)
    return hooks


@functools.cache
def _loader(data_path: str | None) -> Any:
    """The reader of botocore's models. It keeps what it has read, because reading takes a fifth of a second."""
    return create_loader(data_path)


def locate(settings: ClientSettings) -> Endpoint:
    """Find the endpoint that the settings and the environment mean; blocks on files.

    Raises:
        ConfigurationError: no region, no such profile, or flags that contradict each other.
    """
    try:
        return _locate(settings, new_session(settings))
    except (ProfileNotFound, ConfigParseError) as error:
        raise ConfigurationError(explained(error, profile=settings.profile, profiles=_profiles())) from None
    except (BotoCoreError, ValueError) as error:
        malformed = str(error).startswith("Invalid endpoint")  # botocore's sentence for AWS_ENDPOINT_URL_SQS and others
        advice = "; give scheme, host and port, e.g. http://localhost:4566" if malformed else ""
        given = [f"{name}={getattr(settings, name)!r}" for name in ("region", "endpoint_url", "profile")]
        given = [each for each in given if not each.endswith("=None")]
        raise ConfigurationError(
            redacted(
                f"no {settings.service.label} endpoint follows from {''.join(f'{each}, ' for each in given)}the AWS "
                f"variables ({settings.service.variable}) and ~/.aws/config: {error}{advice}"
            )
        ) from None  # botocore's error may show the password in a URL


def _profiles() -> list[str]:
    """The profiles of the AWS files; none if the files cannot be read."""
    try:
        return list(botocore.session.Session().available_profiles)
    except BotoCoreError:
        return []


def _locate(settings: ClientSettings, session: Any) -> Endpoint:
    queue = settings.queue
    region = (
        settings.region
        or (queue.region if queue else None)
        or session.get_config_variable("region")
        or os.environ.get("AWS_REGION")  # botocore passes it by; Lambda and ECS set it, and all other SDKs read it
    )
    check_region(region)
    url, origin = _url(session, settings, region or LOCAL_REGION)
    check_endpoint(url, "the queue's URL" if origin == "queue" else "endpoint_url")
    host = urlsplit(url).hostname or ""
    loopback = _is_loopback(host)
    if region is None and origin != "region":
        region = region_of(host) or (LOCAL_REGION if loopback else None)
    if region is None:
        raise ConfigurationError(
            f"no AWS region is known for {settings.service.label}: set AWS_DEFAULT_REGION (or AWS_REGION), `region` in "
            "the profile of ~/.aws/config, or region=... (--region)"
            + (", or give the queue by its URL or ARN" if queue is not None else "")
        )
    return Endpoint(
        url=url if urlsplit(url).path else f"{url}/",
        region=region,
        loopback=loopback,
        session_token=origin != "queue" or loopback,
        proxy=_proxy(settings, url),
        ca_bundle=settings.ca_bundle or session.get_config_variable("ca_bundle") or _roots_where_there_are_none(),
    )


def _url(session: Any, settings: ClientSettings, region: str) -> tuple[str, Literal["configured", "queue", "region"]]:
    """The URL to post to, and what it follows from."""
    if settings.endpoint_url is not None:
        if settings.use_fips or settings.use_dualstack:
            raise ConfigurationError(
                f"endpoint_url={redacted(settings.endpoint_url)!r} leaves no choice of a FIPS or dual-stack endpoint: "
                "leave out use_fips and use_dualstack, or endpoint_url"
            )
        return settings.endpoint_url, "configured"
    url = _ask(session, settings, region)
    own = _ask(session, settings, region, configured=False)
    if url == own and settings.queue is not None and settings.queue.endpoint is not None:
        # The queue is on a server that is not AWS's, and no endpoint is configured: that server is meant.
        return settings.queue.endpoint, "queue"
    return url, "region" if url == own else "configured"


def _ask(session: Any, settings: ClientSettings, region: str, *, configured: bool = True) -> str:
    """Where botocore would send a call: it applies all of its rules only when it sends one, so we stop it there."""
    client = session.create_client(
        settings.service.name,
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
        return AWSResponse(
            request.url, 200, {}, HTTPResponse(io.BytesIO(settings.service.empty), preload_content=False)
        )

    client.meta.events.register("before-send", stop)
    getattr(client, settings.service.listing)()
    client.close()
    return urls[0]


def _proxy(settings: ClientSettings, url: str) -> str | None:
    proxies = get_environ_proxies(url) if settings.proxies is None else settings.proxies
    proxy: str | None = proxies.get(urlsplit(url).scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy or None


def _roots_where_there_are_none() -> str | None:
    """The certificates that botocore brings if the system has none, such as in a minimal container; else None."""
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
