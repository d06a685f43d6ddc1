"""The extras: what to install for what needs a library that is not there.

On the ground floor. It promises commands that work from anywhere: they name the libraries, and not this package, which
may not be on the index that pip asks.
"""

from __future__ import annotations

from typing import Final

INSTALL: Final = {
    "cli": "pip install typer rich",
    "aiohttp": "pip install aiohttp",
    "pydantic": "pip install pydantic",
    "sns": "pip install cryptography",
    "metrics": "pip install prometheus-client",
    "admin": "pip install prometheus-client starlette uvicorn",
    "otel": "pip install opentelemetry-api",
    "redis": "pip install redis",
    "postgres": "pip install 'psycopg[binary]'",
    "reload": "pip install watchfiles",
}
"""For each extra of `pyproject.toml`, the command that installs its libraries."""


def needs(what: str, library: str | None, extra: str) -> str:
    """The sentence for a library that is not installed.

    Args:
        what: the feature, as users know it.
        library: the library that could not be imported.
        extra: the extra of Leasekeeper that has it.
    """
    return f"{what} needs {library}: {INSTALL[extra]} (the extra `{extra}`)"
