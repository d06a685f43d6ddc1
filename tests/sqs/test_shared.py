"""Clients with equal settings share what is slow to make, as long as one of them is in use."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from leasekeeper.api import TransportSettings
from leasekeeper.sqs import endpoint as endpoint_module
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.sqs.shared import Shared
from leasekeeper.sqs.tls import client_context

if TYPE_CHECKING:
    from pathlib import Path


class Value:
    """Something that can be shared."""


def test_equal_keys_get_one_value_that_is_made_once_also_by_threads() -> None:
    shared: Shared[Value] = Shared()
    made: list[int] = []

    def make() -> Value:
        made.append(1)
        return Value()

    together = threading.Barrier(8)

    def get(_: int) -> Value:
        together.wait(60)
        return shared.get("key", make)

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(get, range(8)))
    assert len(made) == len(set(values)) == 1
    assert shared.get("other", Value) not in values


def test_a_value_that_nothing_uses_is_made_again() -> None:
    shared: Shared[Value] = Shared()
    made: list[int] = []

    def make() -> Value:
        made.append(1)
        return Value()

    used = shared.get("key", make)
    assert shared.get("key", make) is used
    assert len(made) == 1
    del used
    gc.collect()
    shared.get("key", make)
    assert len(made) == 2


def test_an_error_is_raised_and_not_kept() -> None:
    shared: Shared[Value] = Shared()
    with pytest.raises(ZeroDivisionError):
        shared.get("key", lambda: 1 / 0)  # type: ignore[arg-type, return-value] # it raises
    assert isinstance(shared.get("key", Value), Value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    shared: Shared[Value] = Shared()
    before = shared._lock
    before.acquire()
    shared.forget()  # what `os.register_at_fork` calls in the child
    assert isinstance(shared.get("key", Value), Value)


def test_tls_contexts_are_shared_by_what_they_trust(tmp_path: Path) -> None:
    system = TransportSettings(url="https://a.example/")
    first = client_context(system)
    assert client_context(TransportSettings(url="https://b.example/")) is first
    assert client_context(TransportSettings(url="https://a.example/", verify=False)) is not first


@pytest.mark.usefixtures("bare_aws")
def test_consumers_that_start_together_make_two_sessions_of_botocore(
    monkeypatch: pytest.MonkeyPatch, bare_aws: Path
) -> None:
    made: list[str | None] = []
    real = endpoint_module.new_session

    def counted(settings: ClientSettings) -> object:
        made.append(settings.profile)
        return real(settings)

    monkeypatch.setattr(endpoint_module, "new_session", counted)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")

    async def connect(name: str) -> SqsClient:
        return await SqsClient.connect(ClientSettings(queue=QueueAddress.parse(name)))

    async def story() -> None:
        clients = await asyncio.gather(*(connect(f"q{number}") for number in range(5)))
        assert len(made) == 2  # one for the endpoint, one for the credentials
        assert len({id(each.endpoint) for each in clients}) == 1
        (bare_aws / "config").write_text("[default]\nregion = eu-west-2\n")
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        clients.append(await connect("q"))
        assert clients[-1].endpoint.region == "eu-west-2"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
        clients.append(await connect("q"))
        held = [each._wire._credentials.current() for each in (clients[0], clients[-1])]
        assert [each.access_key for each in held if each is not None] == ["AK", "OTHER"]
        for each in clients:
            await each.close()

    asyncio.run(story())
