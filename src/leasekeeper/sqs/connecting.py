"""Connecting: endpoint, credentials and transports found and put together into the wire of one service.

Used by the clients when they connect. It promises that clients which start together share what is expensive to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.api import Credentials, TransportSettings
from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.blocking import in_thread
from leasekeeper.sqs.credentials import CredentialKeeper, Fixed, FromBotocore, FromProvider
from leasekeeper.sqs.services import SQS
from leasekeeper.sqs.shared import Shared, configuration
from leasekeeper.sqs.signer import FIXED_HEADERS, Signer
from leasekeeper.sqs.urls import redacted
from leasekeeper.sqs.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import TransportFactory
    from leasekeeper.sqs.credentials import Source
    from leasekeeper.sqs.endpoint import Endpoint
    from leasekeeper.sqs.settings import ClientSettings

log = safe_logger("leasekeeper.sqs")

_LOCAL = Credentials(access_key="local", secret_key="local")  # noqa: S106 - for a server on this machine


_endpoints: Shared[Endpoint] = Shared()
_sources: Shared[FromBotocore] = Shared()


async def connect(settings: ClientSettings) -> tuple[Wire, Endpoint]:
    """Find endpoint and credentials; no call is made yet.

    Raises:
        ConfigurationError: no region, or settings that contradict each other.
        CredentialsMissing: no credentials were found.
    """
    transport = _transport_factory(settings)
    endpoint, keeper = await find(settings)
    connecting = transport_settings(settings, endpoint, headers=FIXED_HEADERS)
    signer = Signer(endpoint.url, endpoint.region, service=settings.service, session_token=endpoint.session_token)
    wire = Wire(
        signer=signer,
        credentials=keeper,
        polls=transport(connecting),
        calls=transport(connecting),
        timeout=settings.call_timeout,
        where=f"asked {redacted(endpoint.url)} in {endpoint.region}" if settings.service is SQS else "",
    )
    return wire, endpoint


async def find(settings: ClientSettings) -> tuple[Endpoint, CredentialKeeper]:
    """The endpoint, and credentials for it. Raises as `connect`."""
    endpoint = await in_thread(lambda: _locate(settings))
    keeper = CredentialKeeper(_source(settings, endpoint))
    await keeper.start()
    if not endpoint.session_token and (held := keeper.current()) is not None and held.token is not None:
        log.warning(
            "the session token is not sent to %s, which only the queue's URL names: set endpoint_url to send it",
            endpoint.url,
        )
    return endpoint, keeper


def transport_settings(
    settings: ClientSettings, endpoint: Endpoint, *, headers: Mapping[str, str], url: str | None = None
) -> TransportSettings:
    """How a transport reaches that endpoint, or another host of the same service."""
    from importlib.metadata import version  # a tenth of the import of this package, and botocore imports it too

    return TransportSettings(
        url=url or endpoint.url,
        headers={**headers, "User-Agent": f"leasekeeper/{version('leasekeeper')}"},
        connect_timeout=settings.connect_timeout,
        proxy=endpoint.proxy,
        ca_bundle=endpoint.ca_bundle,
        verify=settings.verify_tls,
    )


def _locate(settings: ClientSettings) -> Endpoint:
    """The endpoint. botocore is a third of all that is imported, so it is imported here, off the loop."""
    from leasekeeper.sqs.endpoint import locate

    return _endpoints.get(configuration(settings), lambda: locate(settings))


def _source(settings: ClientSettings, endpoint: Endpoint) -> Source:
    if isinstance(settings.credentials, Credentials):
        return Fixed(settings.credentials)
    if settings.credentials is not None:
        return FromProvider(settings.credentials)
    from leasekeeper.sqs.endpoint import new_session

    local = endpoint.loopback
    return _sources.get(
        (configuration(settings), local),
        lambda: FromBotocore(lambda: new_session(settings), metadata=not local, fallback=_LOCAL if local else None),
    )


def _transport_factory(settings: ClientSettings) -> TransportFactory:
    if settings.http == "native":
        from leasekeeper.sqs.http_native import NativeTransport

        return NativeTransport
    if settings.http == "aiohttp":
        from leasekeeper.sqs.http_aiohttp import AiohttpTransport

        return AiohttpTransport
    if callable(settings.http):
        return settings.http
    raise ConfigurationError(f"http={settings.http!r}: give 'native', 'aiohttp' or a function that makes a Transport")
