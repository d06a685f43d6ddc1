"""What keeps web pages of other sites away from a server on this machine: the headers `Host` and `Origin`.

Owned by the server. A page that makes its name resolve to 127.0.0.1 (DNS rebinding) sends that name. IP addresses are
accepted, because no site can make a browser send one. A page that calls this server by its address sends its origin.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from leasekeeper.local.model import refusals
from leasekeeper.local.s3 import S3

if TYPE_CHECKING:
    from leasekeeper.local.http import HttpRequest

_MOST_REMEMBERED = 256
_SHOWN = frozenset({b"image", b"video", b"audio"})
"""Values of `Sec-Fetch-Dest`: what a page of another origin may show, but not read. Scripts and styles tell it more."""


class AllowedHosts:
    """The accepted names: IP addresses, `localhost` with its subdomains, and `names`. None for `names` accepts all."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names
        self._accepted: set[bytes] = {b""}  # HTTP/1.0 has no Host header; browsers always send one

    def check(self, request: HttpRequest) -> None:
        """Refuse a request that is meant for another host, or that a browser sends from a page of another origin.

        Raises:
            Refusal: with the reason.
        """
        if not self._accept(request.host):
            raise refusals.access_denied(
                f"The Host header {_shown(request.host)} does not name this server: call it by its IP address or as "
                "localhost, or start it with --anywhere to accept every name."
            )
        if request.origin and request.origin.partition(b"//")[2].lower() != request.host.lower():
            raise refusals.access_denied(
                f"A page of {_shown(request.origin)} may not use this server, which it calls as "
                f"{_shown(request.host)}. A proxy between them must leave the Host header as it is."
            )
        # An image or a script of a page has no Origin. Its link to this server is one that the user follows.
        if request.header(b"sec-fetch-site") == b"cross-site" and not _is_harmless(request):
            raise refusals.access_denied("A page of another site may not use this server.")

    def _accept(self, host: bytes) -> bool:
        if self._names is None or host in self._accepted:
            return True
        accepted = self._check(host.decode("latin-1").lower())
        if accepted and len(self._accepted) < _MOST_REMEMBERED:
            self._accepted.add(host)
        return accepted

    def _check(self, name: str) -> bool:
        if not name.endswith("]"):
            before, colon, port = name.rpartition(":")
            name = before if colon and port.isdigit() else name
        name = name.strip("[]")
        if name == "localhost" or name.endswith(".localhost") or name in (self._names or ()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_harmless(request: HttpRequest) -> bool:
    """Whether a page of another site may cause a request: what it gets cannot be read by it, and nothing is changed."""
    if request.method not in (b"GET", b"HEAD"):
        return False
    if request.header(b"sec-fetch-mode") == b"navigate":
        return True
    return request.header(b"sec-fetch-dest") in _SHOWN and S3.means(request)


def _shown(header: bytes) -> str:
    return repr(header[:200].decode("latin-1"))
