"""How a store in Redis names its place: without user and password, whatever the URL is."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper import ConfigurationError
from leasekeeper.idempotency import RedisStore


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost:6379/0", "localhost:6379/0"),
        ("redis://", "localhost:6379/0"),
        ("redis://:secret@cache.internal/3", "cache.internal:6379/3"),
        ("rediss://app:secret@cache.internal:6380/1?ssl_check_hostname=true", "cache.internal:6380/1"),
        ("redis://cache?db=4&password=secret&username=app", "cache:6379/4"),
        ("redis://app:secret@[::1]:7000", "[::1]:7000/0"),
        ("unix://app:secret@/run/redis.sock?db=2", "/run/redis.sock, db 2"),
    ],
)
def test_a_store_in_redis_says_where_it_is_and_no_secret(url: str, place: str) -> None:
    assert repr(RedisStore.from_url(url)) == f"<RedisStore, {place}>"


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:se/cret@cache:6379/0",
        "redis://:12/secret@cache:6379/0",
        "redis://:12#secret@cache",
        "http://app:secret@cache",
        "cache.internal:secret",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_secret(url: str) -> None:
    """redis-py shows a part of the password: `Port could not be cast to integer value as 'se'`."""
    with pytest.raises(ConfigurationError) as refused:
        RedisStore.from_url(url)
    assert str(refused.value) == (
        "the URL of the RedisStore cannot be read: it is redis://host:port/db, rediss://... or unix:///path; in a "
        "password, encode characters such as / # ? @ with urllib.parse.quote(password, safe='')"
    )
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_connection_that_the_server_has_closed_is_opened_again() -> None:
    """Redis was restarted while connections were idle in the pool: no message is given back for that."""
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(served)
        served.append(0)
        while line := await reader.readline():
            count = int(line[1:])
            words = []
            for _ in range(count):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            if words[0].upper() != b"EVAL":
                writer.write(b"-ERR unknown command\r\n" if words[0] == b"HELLO" else b"+OK\r\n")
                continue
            if served[number]:
                break  # this connection has served one claim, and has died since
            served[number] += 1
            writer.write(b"*1\r\n:0\r\n")
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = RedisStore.from_url(f"redis://127.0.0.1:{port}/0?protocol=2")
        for token in ("a", "b", "c"):
            await store.claim("k", token, "", 60.0)
        await store.close()
        server.close()

    asyncio.run(test())
    assert served == [1, 1, 1]
