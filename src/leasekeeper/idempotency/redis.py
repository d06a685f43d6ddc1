"""A store in Redis or Valkey: one script and one key a verb, so that it also works in a cluster.

Time is the server's. A claim and a finished key are hashes that the server removes at their end.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from leasekeeper.errors import ConfigurationError
from leasekeeper.extras import needs
from leasekeeper.idempotency.api import CLAIMED, Completed, Found, Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.idempotency.api import Extension

CONNECTIONS = 32
"""Connections of a store at most. A pool of redis-py refuses a verb that finds none free; here it waits."""

CLAIM = """
local found = redis.call('HMGET', KEYS[1], 'done', 'token', 'fingerprint', 'result')
if found[1] then return {2, found[3] or '', found[4] or false} end
if found[2] and found[2] ~= ARGV[1] then return {1, redis.call('PTTL', KEYS[1])} end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {0}
"""
EXTEND = """
local found = redis.call('HMGET', KEYS[1], 'done', 'token')
if found[1] or found[2] ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
COMPLETE = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'done', '1', 'fingerprint', ARGV[3])
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'result', ARGV[4]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
RELEASE = """
local found = redis.call('HMGET', KEYS[1], 'done', 'token')
if found[1] or found[2] ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisStore:
    """Keeps idempotency keys in Redis (5 or later) or Valkey. Made by `from_url`; needs the extra `redis`.

    The server must not evict keys (`maxmemory-policy noeviction`), and what a failover to a replica loses is forgotten.
    """

    inline = False
    connections = CONNECTIONS

    def __init__(self, url: str, *, cluster: bool = False, **settings: Any) -> None:
        self._url = url
        self._cluster = cluster
        self._settings = settings
        self._place = _place(url, settings)
        self._opened: tuple[object, Any] | None = None
        self._slots = asyncio.Semaphore(CONNECTIONS)

    @classmethod
    def from_url(cls, url: str, *, cluster: bool = False, **settings: Any) -> RedisStore:
        """A store at a URL such as `redis://localhost:6379/0`.

        Args:
            url: as redis-py has it; `rediss://` for TLS, `unix://` for a socket.
            cluster: whether the server is a node of a cluster, of which the others are then found.
            settings: further arguments of `from_url` of `redis.asyncio.Redis`, or of `RedisCluster`.

        Raises:
            ConfigurationError: redis-py is not installed, or the URL cannot be read.
        """
        try:
            import redis.asyncio  # noqa: F401 - whether it is there
        except ImportError as error:
            raise ConfigurationError(needs("RedisStore", "redis-py", "redis")) from error
        return cls(url, cluster=cluster, **settings)

    def _client(self) -> Any:
        """The client; on the loop of the store."""
        loop = asyncio.get_running_loop()
        if self._opened is None or self._opened[0] is not loop:  # also in a forked child
            from redis.asyncio import Redis, RedisCluster

            made = RedisCluster if self._cluster else Redis
            self._opened = loop, made.from_url(self._url, **self._reconnecting() | self._settings)
            self._slots = asyncio.Semaphore(CONNECTIONS)
        return self._opened[1]

    def _reconnecting(self) -> dict[str, Any]:
        """What lets a connection that the server has closed, such as an idle one, be opened again at once and used.

        Each verb may be made twice: it carries the token of its claim. A cluster's client does this by itself.
        """
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Closed

        return {} if self._cluster else {"retry": Retry(NoBackoff(), 1, (Closed,))}

    async def _call(self, script: str, key: str, *arguments: Any) -> Any:
        client = self._client()
        async with self._slots:
            return await client.eval(script, 1, key, *arguments)

    # The text of a script goes along with each call. A hash would save half a kilobyte, but not the second round trip
    # when the server was restarted, and redis-py would ask before each pipeline which scripts the server knows.

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:  # noqa: ARG002 - Store's
        """As `Store.claim`."""
        kind, *rest = await self._call(CLAIM, key, token, _ms(lease))
        if kind == 1:
            return Running(max(0, rest[0]) / 1000)
        return Completed(_bytes(rest[0]).decode(), _bytes(rest[1])) if kind == 2 else CLAIMED

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        """As `Store.extend`: one pipeline for all."""
        client = self._client()
        pipeline = client.pipeline() if self._cluster else client.pipeline(transaction=False)
        for key, token, lease in extensions:
            pipeline.eval(EXTEND, 1, key, token, _ms(lease))
        async with self._slots:
            return [bool(each) for each in await pipeline.execute()]

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        """As `Store.complete`."""
        arguments = (token, _ms(keep), fingerprint, result or b"", int(result is not None))
        return bool(await self._call(COMPLETE, key, *arguments))

    async def release(self, key: str, token: str) -> bool:
        """As `Store.release`."""
        return bool(await self._call(RELEASE, key, token))

    async def close(self) -> None:
        """As `Store.close`."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[1].aclose()

    def __reduce__(self) -> Any:
        """For worker processes, which open connections themselves."""
        return partial(RedisStore, cluster=self._cluster, **self._settings), (self._url,)

    def __repr__(self) -> str:
        return f"<RedisStore, {self._place}>"


def _place(url: str, settings: dict[str, Any]) -> str:
    """Host, port and database of a URL, or its socket: no user, no password, also not in an error.

    Raises:
        ConfigurationError: it cannot be read.
    """
    problem = (
        "the URL of the RedisStore cannot be read: it is redis://host:port/db, rediss://... or unix:///path; in a "
        "password, encode characters such as / # ? @ with urllib.parse.quote(password, safe='')"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or settings.get("host", "localhost"), parts.port or settings.get("port", 6379)
    except ValueError:  # its text has a part of the password
        raise ConfigurationError(problem) from None
    if parts.scheme not in {"redis", "rediss", "unix"} or "@" in parts.fragment:
        raise ConfigurationError(problem)
    path = parts.path.replace("/", "")
    database = parse_qs(parts.query).get("db", [path if path.isdecimal() else settings.get("db", 0)])[0]
    if parts.scheme == "unix":
        return f"{parts.path}, db {database}"
    if "@" in path:
        raise ConfigurationError(problem)
    return f"{f'[{host}]' if ':' in host else host}:{port}/{database}"


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _bytes(value: Any) -> Any:
    """What a client answers with `decode_responses` too, as bytes; None stays None."""
    return value.encode() if isinstance(value, str) else value
