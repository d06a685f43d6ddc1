"""An HTTP proxy in front of the endpoint, for the native transport.

Owned by the transport. It promises to refuse a proxy that cannot work when it is made, and to show no password.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.urls import redacted


class Proxy:
    """An HTTP proxy: plain HTTP to the proxy, and through a tunnel where the endpoint speaks TLS.

    Args:
        url: of the proxy; user and password may be part of it.

    Raises:
        ConfigurationError: it is no http:// URL.
    """

    def __init__(self, url: str) -> None:
        url = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError(f"proxy={redacted(url)!r} is not a URL with a port: check it") from None
        if parts.scheme != "http" or not parts.hostname or not parts.hostname.isascii() or " " in parts.hostname:
            raise ConfigurationError(
                f"proxy={redacted(url)!r}: the native HTTP client supports http:// proxies only; "
                "give one, or set http='aiohttp'"
            )
        self.host = parts.hostname
        self.port = port or 80
        self.authorization: dict[str, str] = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.authorization["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def check(self, status: int) -> None:
        """Refuse an answer to CONNECT that opens no tunnel.

        Raises:
            OSError: the status is not 2xx.
        """
        if not 200 <= status < 300:
            advice = ": give the proxy's user and password in its URL" if status == 407 else ""
            raise OSError(f"the proxy {self.host}:{self.port} answered HTTP {status} to CONNECT{advice}")

    def tunnel(self, target: str) -> bytes:
        """The request for a tunnel."""
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in self.authorization.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
