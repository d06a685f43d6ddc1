"""The files of the browser pages: HTML, one stylesheet, ES modules and an icon, served as they are.

Owned by the admin surface and by the local server, which both answer with `page_file`. It promises that only the files
of this folder are ever answered, that they ask for nothing outside their origin (`SECURITY`), and that a browser asks
again at each visit, so that a page never runs with the modules of another version.
"""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

INDEX = "index.html"
"""The live page of consumers."""
LOCAL = "local.html"
"""The page of `leasekeeper local`."""
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""The content type of each kind of file."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: the browser runs and asks nothing but what this server has."""
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of every file."""


class PageFile(NamedTuple):
    """What to answer: body, content type, and the other headers, with names in lower case."""

    body: bytes
    content_type: str
    headers: dict[str, str]


def page_file(name: str, *, compress: bool = False) -> PageFile | None:
    """A file of the pages, or None if there is no such file.

    Args:
        name: the name alone, such as `style.css`.
        compress: answer with gzip, for clients that accept it.
    """
    found = _files().get(name)
    if found is None:
        return None
    plain, packed, tag = found
    headers = {**SECURITY, "etag": tag, "cache-control": "no-cache", "vary": "accept-encoding"}
    if compress:
        headers["content-encoding"] = "gzip"
    return PageFile(packed if compress else plain, TYPES[name.rpartition(".")[2]], headers)


@cache
def _files() -> dict[str, tuple[bytes, bytes, str]]:
    """Each file as it is, compressed, and its tag."""
    found = {}
    for path in files(__name__).iterdir():
        if path.name.rpartition(".")[2] in TYPES:
            body = path.read_bytes()
            found[path.name] = (body, gzip.compress(body, mtime=0), f'"{sha256(body).hexdigest()[:20]}"')
    return found
