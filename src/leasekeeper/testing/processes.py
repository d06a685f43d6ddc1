"""Processes in virtual time: what belongs to one process can be killed, or suspended and resumed, as by the system.

Owned by a world, which gives each of its consumers one. It promises what the kernel does: after `kill` nothing of the
process runs again, and its connections are closed; between `suspend` and `resume` nothing of it runs, time passes, and
the answers to its calls wait. The server goes on in both cases.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVarTuple
from weakref import WeakSet

from leasekeeper.local.faults import NoAnswer
from leasekeeper.testing.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from leasekeeper.local.broker import Broker
    from leasekeeper.local.model.fields import Answer

Ts = TypeVarTuple("Ts")

MOST_CANCELLATIONS = 100
"""How often the tasks of a process that ends are cancelled: a handler may swallow one."""
_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class ProcessLoop(VirtualLoop):
    """An event loop in virtual time on which processes run beside what belongs to none: the test, the server.

    A process is found by the context in which a callback runs. Tasks, timers and futures pass that context on, so
    everything that a process starts belongs to it. Callbacks from other threads belong to no process.
    """

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback in the next turn, if its process runs then."""
        call = _process_call(callback, args, context)
        if call is None:
            return super().call_soon(callback, *args, context=context)
        call.handle = super().call_soon(call, context=call.context)
        return call.handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at that time, or when its process is resumed."""
        call = _process_call(callback, args, context)
        if call is None:
            return super().call_at(when, callback, *args, context=context)
        call.handle = timer = super().call_at(when, call, context=call.context)
        return timer

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """Make a task; it belongs to the process of its context."""
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        process = _process_of(options.get("context"))
        if process is not None:
            process.tasks.add(task)
        return task


class Process:
    """A process on a `ProcessLoop`.

    Args:
        broker: the server that its connection leads to.

    Attributes:
        context: what runs in this context, or was started from it, belongs to the process.
        tasks: its tasks.
        alive: whether it has not been killed.
        was_suspended: whether it has ever been suspended.
    """

    def __init__(self, broker: Broker) -> None:
        self.connection = Connection(broker)
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.alive = True
        self.was_suspended = False
        self._runs = True
        self._held: list[_Call] = []

    @property
    def runs(self) -> bool:
        """Whether it is neither suspended nor killed."""
        return self._runs

    def suspend(self) -> None:
        """Let nothing of it run until it is resumed (SIGSTOP)."""
        self._runs = False
        self.was_suspended = True

    def resume(self) -> None:
        """Let it go on (SIGCONT): what became due meanwhile runs in the order in which it became due."""
        if self.alive:
            self._release()

    def kill(self) -> None:
        """End it without a word (SIGKILL). Requests that are on their way still reach the server."""
        self.alive = self._runs = False
        self.connection.cut()

    async def bury(self) -> None:
        """Cancel what is left of it, for the end of a test. This runs its `finally` blocks; no call gets through."""
        self.connection.cut()
        for _ in range(MOST_CANCELLATIONS):
            tasks = [task for task in self.tasks if not task.done()]
            for task in tasks:
                task.cancel()
            self._release()
            if not tasks:
                return
            await asyncio.wait(tasks, timeout=1.0)

    def hold(self, call: _Call) -> None:
        """Keep a callback that became due while the process does not run."""
        self._held.append(call)

    def _release(self) -> None:
        self._runs = True
        held, self._held = self._held, []
        loop = asyncio.get_running_loop()
        for call in held:
            VirtualLoop.call_soon(loop, call, context=call.context)  # type: ignore[arg-type] # a `ProcessLoop`

    def __repr__(self) -> str:
        state = "runs" if self._runs else "suspended" if self.alive else "killed"
        return f"<Process {state}, {len(self.tasks)} tasks>"


class Connection:
    """A process's way to the server: for `LocalClient`, in the place of the broker.

    A call runs at the server in a task that does not belong to the process. So it takes effect, and its answer waits,
    also while the process is suspended.

    Attributes:
        late: says, by the operation, how many seconds the next answer is late.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._server = copy_context()
        self._server.run(_PROCESS.set, None)
        self._calls: WeakSet[asyncio.Task[Answer]] = WeakSet()
        self._cut = False
        self.late: Callable[[str], float] = lambda _: 0.0

    def start(self, operation: str, request: dict[str, Any]) -> Awaitable[Answer]:
        """Perform an operation of the API at the server."""
        if self._cut:
            raise NoAnswer(garbage=False)
        call = asyncio.get_running_loop().create_task(self._call(operation, request), context=self._server)
        self._calls.add(call)
        return call

    async def _call(self, operation: str, request: dict[str, Any]) -> Answer:
        try:
            answer = await self._broker.call(operation, request)
        except Exception:
            await asyncio.sleep(self.late(operation))
            raise
        if late := self.late(operation):
            await asyncio.sleep(late)
        return answer

    def cut(self) -> None:
        """Close the connection. As always when a client goes away, this undoes nothing that has taken effect."""
        self._cut = True
        for call in list(self._calls):
            call.cancel()

    def __repr__(self) -> str:
        return f"<Connection to {self._broker!r}{', cut' if self._cut else ''}>"


class _Call:
    """A callback of a process: it runs if the process does, or is held for it."""

    __slots__ = ("_args", "_callback", "_process", "context", "handle")

    def __init__(
        self, process: Process, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> None:
        self._process = process
        self._callback = callback
        self._args = args
        self.context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if not self._process.runs:
            self._process.hold(self)
        elif self.handle is None or not self.handle.cancelled():  # cancelled while it was held
            self._callback(*self._args)


def _process_of(context: Context | None) -> Process | None:
    return _PROCESS.get() if context is None else context.get(_PROCESS)


def _process_call(callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> _Call | None:
    process = _process_of(context)
    if process is None:
        return None
    return _Call(process, callback, args, copy_context() if context is None else context)
