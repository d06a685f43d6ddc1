"""While a certificate is fetched, which blocks, the event loop of `async def` handlers goes on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from authority import Signed, certificate, pem
from test_signature import FAR

from leasekeeper import Leasekeeper
from leasekeeper.api import Outgoing
from leasekeeper.envelopes import Sns
from leasekeeper.local import LocalSqs
from leasekeeper.routing import field
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "batch", "routed"])
def test_the_loop_goes_on_while_a_certificate_is_fetched(kind: str) -> None:
    async def story() -> tuple[list[Any], list[str]]:
        loop = asyncio.get_running_loop()
        turned, seen, fetched = threading.Event(), list[Any](), list[str]()
        all_seen = asyncio.Event()

        def fetch(url: str) -> bytes:
            fetched.append(url)
            loop.call_soon_threadsafe(turned.set)
            assert turned.wait(30), "the loop of the handlers is blocked"
            return pem(certificate(**FAR))

        def note(*bodies: Any) -> None:
            seen.extend(bodies)
            if len(seen) == 2:
                all_seen.set()

        async def single(body: dict[str, int]) -> None:
            note(body)

        async def batch(bodies: list[dict[str, int]]) -> None:
            note(*bodies)

        options: dict[str, Any] = {"batch": 2} if kind == "batch" else {}
        with LocalSqs() as sqs:
            where: dict[str, Any] = {"endpoint_url": sqs.endpoint_url, "region": "eu-west-1"}
            async with await SqsClient.connect(ClientSettings(**where)) as producer:
                url = await producer.create_queue("orders")
                await producer.send_batch(url, [Outgoing(body=Signed().body())] * 2)
            app = Leasekeeper(envelope=Sns(verify=True, fetch=fetch), poll_grace=0.1, **where, **options)
            if kind == "routed":
                app.consumer("orders", when=field("id") == 8)(batch)
            app.consumer("orders")(batch if kind == "batch" else single)
            async with app:
                await asyncio.wait_for(all_seen.wait(), 30)
        return seen, fetched

    seen, fetched = asyncio.run(story())
    assert seen == [{"id": 7}, {"id": 7}]
    assert len(fetched) == 1
