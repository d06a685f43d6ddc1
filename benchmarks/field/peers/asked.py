"""The settings of a client, read once from the environment that the harness started it with.

All peers written in Python share it. A client is started as `FILE run`, or as `FILE produce COUNT SIZE` if only its
own library can write the messages that it reads.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDPOINT = os.environ["BENCH_ENDPOINT"]
QUEUE = os.environ["BENCH_QUEUE"]
QUEUE_URL = os.environ["BENCH_QUEUE_URL"]
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
HANDLER = os.environ["BENCH_HANDLER"]
SECONDS = float(os.environ["BENCH_SECONDS"])
MESSAGES = int(os.environ["BENCH_MESSAGES"])
NOTES = os.environ["BENCH_NOTES"]
VISIBILITY = int(os.environ["BENCH_VISIBILITY"])
REGION = os.environ["AWS_DEFAULT_REGION"]

LONG_POLL = 20
"""Seconds a receive may wait: the most SQS allows, and what costs least."""


def payloads(count: int, size: int) -> Iterator[str]:
    """Texts of `size` characters; the first seven are the text's number, from 0."""
    return (f"{index:07}".ljust(size, "x") for index in range(count))


def obey(run: Callable[[], object], produce: Callable[[Iterator[str]], object] | None = None) -> None:
    """Do what the command line says: run until SIGTERM, or produce payloads and return."""
    match sys.argv[1:]:
        case ["run"]:
            run()
        case ["produce", count, size] if produce:
            produce(payloads(int(count), int(size)))
        case other:
            sys.exit(f"unknown arguments {other}: run{' | produce COUNT SIZE' if produce else ''}")


def become(module: str, *arguments: str) -> NoReturn:
    """Turn this process into `python -m module ...`, a library's own command line; it can import the files here."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)
