"""An HTTP proxy in front of the endpoint, as the native transport speaks to it.

Owned by the transport. It promises to refuse, when it is made, a proxy that cannot be spoken to.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

from leasekeeper.errors import ConfigurationError


class Proxy:
    """An HTTP proxy: plain to the proxy, and through a tunnel where the endpoint wants TLS."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError(
                f"proxy={url!r}: the native HTTP client speaks to http:// proxies only; give one, or set http='aiohttp'"
            )
        self.host = parts.hostname
        self.port = parts.port or 80
        self.authorization: dict[str, str] = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.authorization["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def tunnel(self, target: str) -> bytes:
        """The request for a tunnel."""
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in self.authorization.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
