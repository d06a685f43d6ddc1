"""The Host header: which names a server accepts requests by.

Owned by the server. It keeps out web pages of other sites: a page that makes its name resolve to 127.0.0.1 (DNS
rebinding) sends that name. IP addresses are accepted, because no site can make a browser send one.
"""

from __future__ import annotations

import ipaddress

_MOST_REMEMBERED = 256


class AllowedHosts:
    """The accepted names: IP addresses, `localhost` with its subdomains, and `names`. None for `names` accepts all."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names
        self._accepted: set[bytes] = {b""}  # HTTP/1.0 has no Host header; browsers always send one

    def accept(self, host: bytes) -> bool:
        """Whether a request with this Host header is accepted."""
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
