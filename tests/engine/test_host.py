"""The host: threads with event loops that run while they are used, and end in bounded time."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import suppress

import pytest

from leasekeeper.engine import host
from leasekeeper.engine.executor import DaemonExecutor


def test_a_loop_that_cannot_be_made_is_an_error_and_not_a_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has used up its descriptors; later, with some free again, there is a loop."""
    make, free = host.new_event_loop, False

    def scarce() -> asyncio.AbstractEventLoop:
        if not free:
            raise OSError(24, "Too many open files")
        return make()

    monkeypatch.setattr(host, "new_event_loop", scarce)
    thread = host.LoopThread("engine")
    errors: list[Exception] = []

    def ask() -> None:
        try:
            thread.enter()
        except OSError as error:
            errors.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(60)
    assert [str(each) for each in errors] == ["[Errno 24] Too many open files"]
    free = True
    assert thread.enter().is_running()
    thread.leave().result(60)


@pytest.fixture(params=["uvloop", "asyncio"])
def thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> host.LoopThread:
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    return host.LoopThread("handlers")


def test_a_loop_runs_while_it_has_users_and_again_after_that(thread: host.LoopThread) -> None:
    first = thread.enter()
    assert thread.enter() is first
    thread.leave().result(60)
    assert first.is_running()
    thread.leave().result(60)
    assert first.is_closed()
    second = thread.enter()
    assert second is not first
    assert second.is_running()
    thread.leave().result(60)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_wants_to_end_the_process_ends_only_itself(
    thread: host.LoopThread, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """L15: asyncio stops the loop with it, and every handler on that loop would never be heard of again."""

    async def leave() -> None:
        raise error

    async def stay() -> str:
        return "here"

    loop = thread.enter()
    with pytest.raises(error):
        asyncio.run_coroutine_threadsafe(leave(), loop).result(60)
    assert asyncio.run_coroutine_threadsafe(stay(), loop).result(60) == "here"
    thread.leave().result(60)
    assert f"{error.__name__}() was raised by a task on the event loop handlers; the loop goes on" in caplog.text


def test_what_does_not_end_is_named_and_left_behind(
    thread: host.LoopThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """L22: a task that swallows its cancellation, and a call that blocks."""
    monkeypatch.setattr(host, "LINGER", 0.2)
    release = threading.Event()

    async def swallow() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(300)

    async def begin() -> asyncio.Task[None]:
        block = asyncio.to_thread(release.wait, 60)
        tasks.append(asyncio.create_task(block, name="blocking"))  # type: ignore[arg-type]
        return asyncio.create_task(swallow(), name="stubborn")

    tasks: list[asyncio.Task[None]] = []
    loop = thread.enter()
    tasks.append(asyncio.run_coroutine_threadsafe(begin(), loop).result(60))
    thread.leave().result(60)
    release.set()
    assert loop.is_closed()
    assert "task stubborn (" in caplog.text
    assert "blocking call Event.wait() did not end" in caplog.text
    for each in tasks:
        each._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's warning of it would fail the test


def test_calls_that_block_run_side_by_side_and_their_errors_come_back() -> None:
    executor = DaemonExecutor(limit=2)
    both = threading.Barrier(2)
    assert [each.result(60) for each in [executor.submit(both.wait, 60) for _ in range(2)]] in ([0, 1], [1, 0])
    assert executor.submit(sorted, [3, 1, 2], reverse=True).result(60) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(60)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(print)


def test_a_shutdown_may_cancel_what_waits() -> None:
    executor, entered, release = DaemonExecutor(limit=1), threading.Event(), threading.Event()

    def block() -> bool:
        entered.set()
        return release.wait(60)

    running = executor.submit(block)
    assert entered.wait(60)
    waiting = executor.submit(print)
    assert executor.running == [f"{test_a_shutdown_may_cancel_what_waits.__qualname__}.<locals>.block"]
    executor.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    executor.join(0.01)
    release.set()
    assert running.result(60)
    executor.join(60)
    assert executor.running == []
