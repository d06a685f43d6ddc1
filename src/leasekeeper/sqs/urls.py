"""URLs as users write them: checked before anything is sent, and shown without the secrets in them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from leasekeeper.errors import ConfigurationError

_USER_INFO = re.compile(r"//[^/\s]*@")
UNSAFE = re.compile(r"[\x00-\x20\x7f]|[^\x00-\x7f]")
"""Characters that no URL of ours may hold: Python's `urlsplit` drops line breaks without a word."""
_PORTS = {"http": 80, "https": 443}


def redacted(text: str) -> str:
    """The text, with user and password of each URL in it replaced by `***`."""
    return _USER_INFO.sub("//***@", text)


def without_user_info(url: str) -> str:
    """The URL without user and password, for a command that is shown."""
    return _USER_INFO.sub("//", url)


def check_endpoint(url: str, name: str) -> None:
    """Refuse a URL that cannot be an endpoint of SQS.

    Args:
        url: the URL.
        name: of the setting that gave it, for the error.

    Raises:
        ConfigurationError: it is no http(s) URL, or holds a user, a query, a blank, a line break or a letter beyond
            ASCII: it becomes a line of each request.
    """
    shown = f"{name}={redacted(url)!r}"
    if UNSAFE.search(url):
        raise ConfigurationError(
            f"{shown} holds a blank, a control character or a letter beyond ASCII: check where it is set; write an "
            "international host name in its xn-- form and other letters in their %XX form"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is none
    except ValueError as error:
        raise ConfigurationError(f"{shown} is not a URL: {redacted(str(error))}") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{shown} is not an endpoint: give scheme, host and port, e.g. http://localhost:4566")
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{shown} holds a user or a password: calls to SQS are signed with AWS credentials and send neither; "
            "leave it out"
        )


def port_of(url: str) -> int:
    """The port of an http(s) URL."""
    parts = urlsplit(url)
    return parts.port or _PORTS[parts.scheme]


def host_of(url: str) -> str:
    """The value of the Host header for a URL: without the port when it is the scheme's default."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _PORTS.get(parts.scheme)} else f"{host}:{parts.port}"
