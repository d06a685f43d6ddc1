"""A local SQS on its thread, for tests, examples and programs that are not asynchronous.

Owned by the program that enters it. It promises to listen from the entry of the `with` block to its end. It keeps no
messages after that.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, TypeVar

from leasekeeper.local.broker import Broker
from leasekeeper.local.server import LocalServer, check_host

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from types import TracebackType

    from leasekeeper.local.faults import Faults
    from leasekeeper.local.s3 import S3

T = TypeVar("T")


class LocalSqs:
    """SQS on this machine: `with LocalSqs() as sqs: boto3.client("sqs", endpoint_url=sqs.endpoint_url, ...)`.

    Args:
        host: where to listen; loopback, unless `anywhere`.
        port: 0 takes a free one.
        seed: of message ids and faults, to repeat a run; None draws a new one, so that message ids never repeat.
        anywhere: listen on an address that other machines can reach.
        require_credentials: refuse requests without an Authorization header.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
        anywhere: bool = False,
        require_credentials: bool = False,
    ) -> None:
        check_host(host, anywhere=anywhere)
        self.broker = Broker(seed=seed)
        self._server = LocalServer(
            self.broker, host=host, port=port, anywhere=anywhere, require_credentials=require_credentials
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def endpoint_url(self) -> str:
        """The address for clients: `http://host:port`."""
        return self._server.endpoint_url

    @property
    def s3(self) -> S3:
        """A small S3 on the same port: `sqs.s3.create("bucket")` before anything uses it, then its API."""
        return self._server.s3

    @property
    def faults(self) -> Faults:
        """The faults. They may be set from any thread, and apply from the next call on."""
        return self.broker.faults

    @property
    def calls(self) -> Counter[str]:
        """The number of calls of each operation."""
        return self.broker.calls

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Make a call of the API, from any thread but the server's, and wait for its answer.

        For example `sqs.call("CreateQueue", QueueName="orders")`; names and answers are those of the API. Faults hold
        for it too.

        Raises:
            Refusal: the error that SQS answers with.
            RuntimeError: the server does not run.
        """
        loop = self._running_loop()
        return asyncio.run_coroutine_threadsafe(self.broker.call(operation, request), loop).result()

    def on_loop(self, look: Callable[[], T]) -> T:
        """Call a function on the server's loop, where nothing changes meanwhile; what it returns.

        Raises:
            RuntimeError: the server does not run.
        """

        async def call() -> T:
            return look()

        return asyncio.run_coroutine_threadsafe(call(), self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            raise RuntimeError(f"{self!r} does not run: use `with LocalSqs() as sqs`, or start()")
        return self._loop

    def start(self) -> None:
        """Start, and return when it listens; raises `OSError` if it cannot listen."""
        listening: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="local-sqs", daemon=True)
        self._thread.start()
        try:
            listening.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Stop, and cut every connection. May be called before `start`, and twice."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        alive = self._thread is not None and self._thread.is_alive()
        return f"<LocalSqs {self.endpoint_url} {'running' if alive else 'stopped'}>"

    def _run(self, listening: Future[None]) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            await self._server.open()
        except BaseException as error:
            listening.set_exception(error)
            return
        listening.set_result(None)
        await self._stopping.wait()
        await self._server.close()


def collect_rarely() -> None:
    """Have garbage collected rarely in a process that only serves: messages are many and hold no cycles."""
    gc.freeze()  # what there is now stays until the end
    gc.set_threshold(100_000, 50, 50)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The factory of the event loop: that of uvloop if it is installed, else None, for the default of asyncio."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
