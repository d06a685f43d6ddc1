"""Servers of stores for these tests: started on a free port, with their files in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import moto_server
import pytest
from starting import ending_with_us, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTS_WITHIN = 300.0
"""Seconds after which a server that neither starts nor ends is given up: far more than it takes, for busy machines."""


@contextmanager
def moto_process() -> Iterator[str]:
    """The URL of moto in a process, which can be suspended."""
    with subprocess.Popen(
        [sys.executable, moto_server.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()  # it ends then
            process.wait(STARTS_WITHIN)


@contextmanager
def redis_server(*arguments: str) -> Iterator[str]:
    """The URL of a Redis; the tests that need it are skipped if it is not installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("redis-server is not installed (.ci/servers installs it)")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with _process([*command, "--appendonly", "no", *arguments], lambda: _listens(port)):
            yield f"redis://127.0.0.1:{port}/0"


class Postgres:
    """A Postgres that can be killed and started again.

    Attributes:
        dsn: its connection string.
    """

    def __init__(self, command: list[str], dsn: str, *, user: str | None, cwd: str) -> None:
        self.dsn = dsn
        self._command = command
        self._user = user
        self._cwd = cwd
        self._stack = ExitStack()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._stack.enter_context(_process(self._command, lambda: _answers(self.dsn), user=self._user, cwd=self._cwd))

    def stop(self) -> None:
        """Stop it; all connections break."""
        self._stack.close()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The connection string of a Postgres; the tests that need it are skipped if it is not installed."""
    with postgres_cluster() as postgres:
        yield postgres.dsn


@contextmanager
def postgres_cluster() -> Iterator[Postgres]:
    """A Postgres, as `postgres_server`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    home = found[-1].parent if found else Path(shutil.which("initdb") or "/").parent
    if not (home / "initdb").exists():
        pytest.skip("postgresql is not installed (.ci/servers installs it)")
    with tempfile.TemporaryDirectory() as folder:
        user = None  # Postgres refuses to run as root
        if os.geteuid() == 0:
            user = "postgres" if any(each.pw_name == "postgres" for each in pwd.getpwall()) else "nobody"
            shutil.chown(folder, user)
        Path(folder).chmod(0o700)
        data, port = f"{folder}/data", free_port()
        subprocess.run(
            [home / "initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=STARTS_WITHIN,
        )
        settings = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        command = [str(home / "postgres"), "-D", data, "-p", str(port), "-k", folder, *settings]
        dsn = f"host=127.0.0.1 port={port} user=test dbname=postgres"
        postgres = Postgres(command, dsn, user=user, cwd=folder)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


@contextmanager
def _process(
    command: list[str], ready: Callable[[], bool], *, user: str | None = None, cwd: str | None = None
) -> Iterator[None]:
    process = subprocess.Popen(
        ending_with_us(*command, by="INT"),
        user=user,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while not ready():
            assert process.poll() is None, f"{command[0]} has ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} has not started in {STARTS_WITHIN:g} s"
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # for Postgres a fast shutdown
        process.wait(STARTS_WITHIN)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(dsn: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(dsn, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False
