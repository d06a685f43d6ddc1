"""A consumer at full load, from the bytes of SQS's answers to the deletes: everything but the network and the loop.

A scene is played once. In virtual time engine and coroutine handlers share one thread and one loop, and plain functions
take turns with the engine (`lockstep`), so each run does the same.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Unpack

from canned import BATCH, Supply

from leasekeeper.api import Credentials
from leasekeeper.channel import Channel
from leasekeeper.engine.context import SourceQueue
from leasekeeper.engine.runner import Runner
from leasekeeper.given_options import make_options
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.observe.statistics import Observer
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.credentials import CredentialKeeper, Fixed
from leasekeeper.sqs.endpoint import Endpoint
from leasekeeper.sqs.signer import Signer
from leasekeeper.sqs.wire import Wire
from leasekeeper.testing.clock import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lockstep import LockStep

    from leasekeeper.option_values import OptionValues

URL = "https://sqs.eu-west-1.amazonaws.com"
QUEUE_URL = f"{URL}/123456789012/orders"
LATENCY = 0.005
"""Virtual seconds of each call."""
START = 1_700_000_000.0
"""What the clock of virtual time shows at first: an epoch time, so that it serves the signer too."""


class Scene:
    """A consumer on a supply of messages; `play` it with a story that says when it is over.

    Args:
        handler: of the consumer.
        virtual: whether it is played in virtual time.
        step: takes turns with the handlers of a thread lane.
        groups: message groups of a FIFO queue; 0: it is a standard queue.
        traceparent: as in `Supply`.
        trace: as in `Supply`.
        measured: whether an exporter has asked for histograms.
        values: options that differ.
    """

    def __init__(
        self,
        handler: Callable[[Any], Any],
        *,
        virtual: bool = True,
        step: LockStep | None = None,
        groups: int = 0,
        traceparent: str = "",
        trace: str = "",
        measured: bool = False,
        **values: Unpack[OptionValues],
    ) -> None:
        self.supply = Supply(LATENCY if virtual else 0.0, groups=groups, traceparent=traceparent, trace=trace)
        self._measured = measured
        self._fifo = groups > 0
        self._virtual = virtual
        self._step = step
        self._handler = handler
        # No extensions: they are paid for by the second, not by the message.
        self._values: OptionValues = {
            "concurrency": 100,
            "visibility_timeout": 43_200,
            "remember_finished": 500,
            "poll_grace": 0.0,
            "on_unstarted": "run",
            **values,
        }

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the consumer until the story is told; no message comes afterwards."""
        play = self._play(story)
        if self._virtual:
            run_virtual(play, start=START)
        else:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(play)

    async def _play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        client = await self._connect(loop.time if self._virtual else time.time)
        if self._step is not None and isinstance(loop, VirtualLoop):
            self._step.bind(loop, lambda: self.supply.given)
        options = make_options(self._values)
        events = Channel()
        handler = make_handler(self._handler, options, queue="orders")
        observer = Observer(events, options, handler.name)
        runner = Runner(
            SourceQueue(name="orders", url=QUEUE_URL, fifo=self._fifo),
            client,
            handler,
            options,
            application=loop,
            emit=events.emit,
            clock=loop.time,
            draw=lambda: 0.5,
            wall=lambda: START,
        )
        if self._measured:
            observer.attach(runner)
            observer.measure()
        running = asyncio.create_task(runner.run(lambda: None))
        telling = asyncio.create_task(story())
        await asyncio.wait((running, telling), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            telling.cancel()
            raise RuntimeError(f"the consumer ended before the story did: {running.result()!r}")
        self.supply.limit = 0
        runner.stop()
        await running
        await telling
        report = observer.report(runner)
        await client.close()
        assert report.acked == report.received, f"not every message was handled and deleted: {report!r}"

    async def _connect(self, epoch: Callable[[], float]) -> SqsClient:
        """The client as `SqsClient.connect` makes it, with a signer that takes its time from the loop.

        It prepares some things again every second; in virtual time, every run does so equally often.
        """
        keeper = CredentialKeeper(Fixed(Credentials(access_key="AKIDEXAMPLE", secret_key="secret")))
        await keeper.start()
        wire = Wire(
            signer=Signer(URL, "eu-west-1", clock=epoch),
            credentials=keeper,
            polls=self.supply.transport(),
            calls=self.supply.transport(),
            timeout=10.0,
        )
        return SqsClient(wire, Endpoint(url=URL, region="eu-west-1", loopback=False))


class Window:
    """The receives from one to another, and what is done at both ends: between them the consumer is in steady state.

    Args:
        scene: its supply is watched.
        first: the receive at which it opens; those before it warm everything up.
        last: the receive at which it closes.
    """

    def __init__(
        self, scene: Scene, *, first: int, last: int, opened: Callable[[], None], closed: Callable[[], None]
    ) -> None:
        self.messages = (last - first) * BATCH
        """Messages received within it."""
        self.api_calls = 0.0
        """Calls to SQS within it: to delete one message, and to receive one, for these are not the same messages."""
        self._supply = scene.supply
        self._supply.looked_at = self._look
        self._first, self._last = first, last
        self._opened, self._closed = opened, closed
        self._before = (0, 0, 0)
        self._over = asyncio.Event()

    def _look(self, receives: int) -> None:
        if receives == self._first:
            self._before = self._calls()
            self._opened()
        elif receives == self._last:
            self._closed()
            deletes, others, deleted = (now - then for now, then in zip(self._calls(), self._before, strict=True))
            self.api_calls = deletes / deleted + others / self.messages
            self._over.set()

    def _calls(self) -> tuple[int, int, int]:
        """Calls that delete, other calls, and messages deleted, so far."""
        calls = self._supply.calls
        deletes = calls["DeleteMessageBatch"]
        return deletes, calls.total() - deletes, self._supply.deleted

    async def over(self) -> None:
        """Wait until it has closed."""
        await self._over.wait()
