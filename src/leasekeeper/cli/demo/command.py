"""The demo's command: runs producer, consumer and view until the time is over or Ctrl-C, then drains and reports.

Owned by `leasekeeper demo`. It promises to end in bounded time and to leave no process behind.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from leasekeeper.cli.demo import summary, view
from leasekeeper.cli.demo.page import Pages, open_live_page
from leasekeeper.cli.demo.shop import Shop
from leasekeeper.cli.demo.state import DemoPlan, DemoState, Ending
from leasekeeper.cli.demo.world import CONSUMERS_CALLS, CREDENTIALS, QUEUE, OwnSqs, Producer, forget_aws
from leasekeeper.cli.start_time import BEGAN
from leasekeeper.consumer import Consumer
from leasekeeper.engine.host import new_event_loop
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.observe.statistics import ConsumerStatistics

NARROWEST = 72
"""Columns that the view needs; a narrower terminal gets lines."""
TICK = 0.25
"""Seconds between two states."""
LINE_EVERY = 2.0
"""Seconds between two lines where there is no terminal."""


def play(plan: DemoPlan) -> Exit:
    """Run the demo; returns the exit code."""
    forget_aws()
    console = Console()
    utf_8 = console.encoding.lower().startswith("utf")  # the view needs its bars
    on_screen = console.is_terminal and not console.is_dumb_terminal and utf_8 and console.width >= NARROWEST
    with OwnSqs() as sqs, asyncio.Runner(loop_factory=new_event_loop) as runner:
        if on_screen:
            with Live(console=console, auto_refresh=False, screen=True) as screen:
                demo = Demo(plan, sqs, lambda state: screen.update(view.live(state, console.width), refresh=True))
                code = runner.run(demo.run(report=False))
            if demo.last is not None:
                console.print(view.live(demo.last[0], console.width))
        else:
            print(f"A producer sends orders to queue {QUEUE} of a local SQS at {sqs.endpoint_url},", flush=True)
            print("and a consumer handles and deletes them. Ctrl-C drains and reports.", flush=True)
            demo = Demo(plan, sqs, _Lines())
            code = runner.run(demo.run(report=not console.is_terminal))
        if console.is_terminal and demo.last is not None:
            _print_report(console, *demo.last)
        return code


class _Lines:
    """Prints a state as a line from time to time."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, state: DemoState) -> None:
        if not self._next:
            print(f"{state.pages}\n", flush=True)
        if state.elapsed >= self._next:
            self._next = state.elapsed + LINE_EVERY
            print(view.line(state), flush=True)


def _print_report(console: Console, state: DemoState, ending: Ending) -> None:
    from rich.table import Table

    console.print(f"\n{summary.drained(ending)}\n", highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    for row in summary.rows(state, ending):
        table.add_row(*row)
    console.print(table)


class Demo:
    """One run of the demo.

    Args:
        plan: what to do.
        sqs: the server.
        show: called with each state.
    """

    def __init__(self, plan: DemoPlan, sqs: OwnSqs, show: Callable[[DemoState], None]) -> None:
        self._plan = plan
        self._sqs = sqs
        self._show = show
        self._began = self._consuming = time.monotonic()
        self._stage = "flowing"
        self._rates: list[float] = []
        self._calls: Counter[str] = Counter()
        self._asked = asyncio.Event()
        self._signal = ""
        self._over = asyncio.Event()
        self._pages = Pages("", f"{sqs.endpoint_url}/_leasekeeper/", secrets.token_hex(4))
        self.last: tuple[DemoState, Ending] | None = None
        self.shop = Shop(seconds=plan.handler_ms / 1000, concurrency=plan.concurrency)
        self.consumer = Consumer(
            QUEUE,
            self.shop.ship,
            concurrency=plan.concurrency,
            visibility_timeout=plan.visibility,
            retry_base=1.0,
            endpoint_url=sqs.endpoint_url,
            region="us-east-1",
            credentials=lambda: CREDENTIALS,
            logger=_quiet(),
        )

    async def run(self, *, report: bool = True) -> Exit:
        """Run the demo to its end."""
        ahead = int(max(200, min(5_000, self._plan.most)))
        self._producer = await Producer.open(self._sqs.endpoint_url, ahead=ahead, most=self._plan.messages)
        try:
            for number, name in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal, name)
            producing = asyncio.ensure_future(self._producer.run())
            self._consuming = time.monotonic()
            await self.consumer.start()
            # Only now, and in a thread: the first message does not wait for the imports of the page.
            live_page = await asyncio.to_thread(open_live_page, self.consumer, self._pages.token)
            try:
                self._pages = self._pages._replace(consumer=live_page.url if live_page else "")
                looking = asyncio.ensure_future(self._look())
                why = await self._until_over(producing)
                ending = await self._stop(producing, why)
                self._over.set()
                await looking
            finally:
                if live_page is not None:
                    live_page.__exit__(None, None, None)
            self._stage = "done"
            await self._count_calls()
            state = self._state(_own(self.consumer))
            self.last = state, ending
            if report:
                print("\n" + summary.plain(state, ending), flush=True)
            return Exit.FAILED if ending.lost or ending.duplicates else Exit.CLEAN
        finally:
            await self._producer.close()

    def _on_signal(self, name: str) -> None:
        self._signal = name
        self.consumer.request_stop(force=self._asked.is_set())
        self._asked.set()

    async def _until_over(self, producing: asyncio.Future[None]) -> str:
        """Wait for the end of the time, for Ctrl-C, or until every order asked for is settled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._plan.seconds):
                while not (self._asked.is_set() or (producing.done() and self._all_done())):
                    await _wait(self._asked)
            return self._signal or "every order is settled"
        return "the time is over"

    def _all_done(self) -> bool:
        statistics = _own(self.consumer)
        settled = len(self.shop.finished) + statistics.work.dead_lettered >= self._producer.sent
        return settled and not view.held(self._state(statistics))

    async def _stop(self, producing: asyncio.Future[None], why: str) -> Ending:
        self._stage = "draining"
        began = time.monotonic()
        self._producer.stop()
        await asyncio.gather(producing, return_exceptions=True)
        before = _own(self.consumer)
        await self.consumer.stop()
        after = _own(self.consumer)
        visible, hidden, dead = await self._producer.counts()
        left, first = visible + hidden, self.shop.first
        return Ending(
            why=why,
            flowed=began - self._began,
            drained=time.monotonic() - began,
            first=first - BEGAN if first is not None else None,
            first_consumed=(first or began) - self._consuming,
            running=before.lane.running,
            finished_in_drain=after.work.done - before.work.done,
            ended_in_drain=after.work.ended - before.work.ended,
            released_at_stop=after.work.not_started - before.work.not_started,
            acked_in_drain=after.ledger.acked - before.ledger.acked,
            duplicates=self.shop.duplicates,
            left=left,
            dead=dead,
            lost=max(0, self._producer.sent - len(self.shop.finished) - dead - left),
        )

    async def _look(self) -> None:
        """Show a state a few times a second."""
        finished, at = len(self.shop.finished), time.monotonic()
        while not self._over.is_set():
            await _wait(self._over)
            await asyncio.gather(self._count_calls(), self._producer.counts())
            now = time.monotonic()
            self._rates.append((len(self.shop.finished) - finished) / (now - at))
            finished, at = len(self.shop.finished), now
            self._show(self._state(_own(self.consumer)))

    async def _count_calls(self) -> None:
        calls = await self._sqs.calls()
        self._calls = Counter({name: calls[name] for name in CONSUMERS_CALLS})
        self._calls["SendMessageBatch"] = max(0, calls["SendMessageBatch"] - self._producer.calls)

    def _state(self, statistics: ConsumerStatistics) -> DemoState:
        return DemoState(
            stage=self._stage,
            elapsed=time.monotonic() - self._began,
            pages=self._pages.line,
            plan=self._plan,
            statistics=statistics,
            sent=self._producer.sent,
            waiting=self._producer.waiting,
            finished=len(self.shop.finished),
            rates=tuple(self._rates),
            calls=self._calls,
            events=tuple(self.shop.events),
        )


def _own(consumer: Consumer) -> ConsumerStatistics:
    statistics = consumer.statistics()
    assert statistics is not None, "read after the start"
    return statistics


async def _wait(event: asyncio.Event) -> None:
    """Wait for the event, but no longer than a tick."""
    with suppress(TimeoutError):
        async with asyncio.timeout(TICK):
            await event.wait()


def _quiet() -> logging.Logger:
    """A logger that prints nothing: the view shows the failures of the demo."""
    logger = logging.getLogger("leasekeeper.demo")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
