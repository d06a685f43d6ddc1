"""Where the admin surface listens, and where `leasekeeper health` finds it: `HOST:PORT`, or a port.

Used by the server and by the command line. It promises that without a host only this machine can reach it.
"""

from __future__ import annotations

from typing import NamedTuple

from leasekeeper.errors import ConfigurationError

DEFAULT = "127.0.0.1:9900"
LOOPBACK = "127.0.0.1"
_ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - it is looked up, not bound


class AdminAddress(NamedTuple):
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> AdminAddress:
        """Read `127.0.0.1:9900`, `[::1]:9900`, `:9900` or `9900`.

        Raises:
            ConfigurationError: it is none of these.
        """
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) < 2**16) or (":" in host and host[0] != "["):
            raise ConfigurationError(f"admin={text!r}: give HOST:PORT, such as {DEFAULT}, or a port from 0 to 65535")
        return cls(host.strip("[]") or LOOPBACK, int(port))

    @property
    def reachable(self) -> AdminAddress:
        """Where this machine reaches a server that listens here."""
        return self._replace(host=_ANY.get(self.host, self.host))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
