"""Where the admin surface listens, and where `leasekeeper health` finds it: `HOST:PORT`, a port, or a Unix socket.

Used by the server and by the command line. It promises that without a host only this machine can reach it.
"""

from __future__ import annotations

from typing import NamedTuple

from leasekeeper.errors import ConfigurationError, Unusable

DEFAULT = "127.0.0.1:9900"
LOOPBACK = "127.0.0.1"
_ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - it is looked up, not bound


class AddressUnusable(Unusable, ConfigurationError):
    """Nothing can listen at the address: another program does, or this machine has no such address."""


class AdminAddress(NamedTuple):
    """A host and a port; port 0 takes a free one. Of a Unix socket the host is `unix:/path`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> AdminAddress:
        """Read `127.0.0.1:9900`, `[::1]:9900`, `:9900`, `9900` or `unix:/run/orders.sock`.

        Raises:
            ConfigurationError: it is none of these.
        """
        if text.startswith("unix:/"):
            return cls(text, 0)
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) < 2**16) or (":" in host and host[0] != "["):
            raise ConfigurationError(
                f"the admin address {text!r}: give HOST:PORT, such as {DEFAULT}, a port from 0 to 65535, or unix:/PATH"
            )
        return cls(host.strip("[]") or LOOPBACK, int(port))

    @property
    def reachable(self) -> AdminAddress:
        """Where this machine reaches a server that listens here."""
        return self._replace(host=_ANY.get(self.host, self.host))

    @property
    def path(self) -> str:
        """The path of a Unix socket; empty for TCP."""
        return self.host.removeprefix("unix:") if self.host.startswith("unix:/") else ""

    @property
    def url(self) -> str:
        """The address as a URL, or `unix:/path`."""
        return str(self) if self.path else f"http://{self}"

    def __str__(self) -> str:
        if self.path:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
