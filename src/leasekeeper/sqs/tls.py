"""Certificates: the TLS context of the transports that use Python's `ssl`.

Owned by each transport. It promises verified certificates and host names unless `verify_tls` turns that off.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from leasekeeper.api import TransportSettings


def client_context(settings: TransportSettings) -> ssl.SSLContext:
    """The context that trusts the certificates of the CA bundle, or the system's where there is none, as boto3 does.

    It is as strict about certificates as boto3 and as Python up to 3.12. Python 3.13 would also refuse certificates
    that break a rule of RFC 5280, as those of many companies' own authorities do (`ssl.VERIFY_X509_STRICT`).

    Raises:
        ConfigurationError: the CA bundle cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_bundle)
    except OSError as error:  # ssl.SSLError is one as well
        raise ConfigurationError(f"ca_bundle={settings.ca_bundle!r} cannot be used: {error}") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
