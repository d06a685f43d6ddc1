"""Certificates: the TLS context of the transports that use Python's `ssl`.

Owned by each transport. It promises verified certificates and host names unless that was turned off in so many words.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from leasekeeper.api import TransportSettings


def client_context(connecting: TransportSettings) -> ssl.SSLContext:
    """The context that trusts the system's certificates, and those of the CA bundle as well.

    Raises:
        ConfigurationError: the CA bundle cannot be used.
    """
    context = ssl.create_default_context()
    if not connecting.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connecting.ca_bundle is not None:
        try:
            context.load_verify_locations(connecting.ca_bundle)
        except OSError as error:  # ssl.SSLError is one as well
            raise ConfigurationError(f"ca_bundle={connecting.ca_bundle!r} cannot be used: {error}") from error
    return context
