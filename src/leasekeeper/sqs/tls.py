"""Certificates: the TLS context of the transports that use Python's `ssl`.

Shared by the transports of a process. It promises verified certificates and host names unless `verify_tls` turns that
off.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.shared import Shared, state_of

if TYPE_CHECKING:
    from leasekeeper.api import TransportSettings


_contexts: Shared[ssl.SSLContext] = Shared()


def client_context(settings: TransportSettings) -> ssl.SSLContext:
    """The context that trusts the certificates of the CA bundle, or the system's where there is none, as boto3 does.

    It is as strict about certificates as boto3 and as Python up to 3.12. Python 3.13 would also refuse certificates
    that break a rule of RFC 5280, as those of many companies' own authorities do (`ssl.VERIFY_X509_STRICT`).

    Raises:
        ConfigurationError: the CA bundle cannot be used.
    """
    bundle = settings.ca_bundle
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # of OpenSSL, for the system's certificates
    state = (bundle and state_of(bundle), *(os.environ.get(name) for name in names))
    return _contexts.get((bundle, state, settings.verify), lambda: _new_context(settings))


def _new_context(settings: TransportSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_bundle)
    except OSError as error:  # ssl.SSLError is one as well
        raise ConfigurationError(f"ca_bundle={settings.ca_bundle!r} cannot be used: {error}") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
