"""What runs, counted instead of timed: function calls, C calls, callbacks of the loop, bytecode instructions.

Owned by one scene, which begins and ends the counting. It promises the same numbers for the same work however busy the
machine is. It does not count what production does not have: the scene, its handlers, and the inside of asyncio's
event loop, which uvloop replaces. The resumption of a coroutine counts as a call, as it does for Python.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from asyncio import base_events, events, selector_events, unix_events
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from leasekeeper.testing import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

NOT_COUNTED = frozenset(
    [str(module.__file__) for module in (base_events, events, selector_events, unix_events, selectors, clock)]
)
"""Files of the event loop."""
_HERE = str(Path(__file__).parent)
_CALLBACK = asyncio.Handle._run.__code__


class Tally(dict[int, list[Any]]):
    """How often something was done by each code, as `[code, times]` by the code's id.

    Not by the code itself: Python hashes all that a code contains each time it looks one up.
    """

    def of(self, code: CodeType) -> list[Any]:
        """The entry of a code; a list, so that a callback can add to it."""
        entry = self.get(id(code))
        if entry is None:
            entry = self[id(code)] = [code, 0]
        return entry


@dataclass(frozen=True, slots=True)
class Count:
    """How often something was done, and by which functions."""

    total: int
    by_function: dict[str, int]

    @classmethod
    def of(cls, *tallies: Tally) -> Count:
        """The sum of what was counted in several threads, without what is not to be counted."""
        together = Counter[str]()
        for tally in tallies:
            for code, times in tally.values():
                if times and _counted(code):
                    together[_name(code)] += times
        return cls(together.total(), dict(together.most_common()))


class Counting(Protocol):
    """One way of counting. Both methods are called on the thread that is counted."""

    counts: dict[str, Count]

    def begin(self) -> None:
        """Count from here on."""
        ...

    def end(self) -> None:
        """Count no more, and sum up."""
        ...


class Calls:
    """Counts `python_calls`, `c_calls` and `callbacks`.

    Args:
        threads: also count in threads; only those that are made after this, so make this first.
    """

    def __init__(self, *, threads: bool = False) -> None:
        self.counts: dict[str, Count] = {}
        self._on = False
        self._python = Tally(), Tally()
        self._c = Tally(), Tally()
        self._events = [self._event_in(place) for place in range(2)]
        if threads:
            threading.setprofile(self._events[1])

    def begin(self) -> None:
        """As `Counting.begin`."""
        self._on = True
        sys.setprofile(self._events[0])

    def end(self) -> None:
        """As `Counting.end`."""
        self._on = False
        sys.setprofile(None)
        threading.setprofile(None)
        self.counts["python_calls"] = Count.of(*self._python)
        self.counts["c_calls"] = Count.of(*self._c)
        callbacks = self._python[0].of(_CALLBACK)[1]
        self.counts["callbacks"] = Count(callbacks, {})

    def _event_in(self, place: int) -> Callable[[FrameType, str, Any], None]:
        python, c = self._python[place].of, self._c[place].of  # one a thread, for `+= 1` is not one step

        def event(frame: FrameType, kind: str, _: Any) -> None:
            if not self._on:
                return
            if kind == "call":
                python(frame.f_code)[1] += 1
            elif kind == "c_call":
                c(frame.f_code)[1] += 1

        return event


class Instructions:
    """Counts `instructions`: of Python's bytecode.

    Args:
        threads: also count in threads; only those that are made after this, so make this first.
    """

    def __init__(self, *, threads: bool = False) -> None:
        self.counts: dict[str, Count] = {}
        self._on = False
        self._done = Tally(), Tally()
        self._before = sys.gettrace(), threading.gettrace()
        self._events = [self._event_in(place) for place in range(2)]
        if threads:
            threading.settrace(self._events[1])

    def begin(self) -> None:
        """As `Counting.begin`."""
        self._on = True
        sys._getframe().f_trace_opcodes = True  # Python 3.12 traces instructions only if some frame asked for it before
        sys.settrace(self._events[0])

    def end(self) -> None:
        """As `Counting.end`."""
        self._on = False
        trace, of_threads = self._before
        sys.settrace(trace)
        threading.settrace(of_threads)
        self.counts["instructions"] = Count.of(*self._done)

    def _event_in(self, place: int) -> Callable[[FrameType, str, Any], Any]:
        done = self._done[place]
        steps: dict[int, Callable[[FrameType, str, Any], Any] | None] = {}  # by the code's id, which `done` keeps alive

        def step_of(code: CodeType) -> Callable[[FrameType, str, Any], Any] | None:
            entry = done.of(code)

            def step(_: FrameType, kind: str, __: Any) -> Any:
                if kind == "opcode" and self._on:
                    entry[1] += 1
                return step

            return step if _counted(code) else None

        def call(frame: FrameType, _: str, __: Any) -> Any:
            code = frame.f_code
            try:
                step = steps[id(code)]
            except KeyError:
                step = steps[id(code)] = step_of(code)
            if step is not None:
                frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return step

        return call


def _counted(code: CodeType) -> bool:
    return code.co_filename not in NOT_COUNTED and not code.co_filename.startswith(_HERE)


def _name(code: CodeType) -> str:
    return f"{code.co_qualname} ({Path(code.co_filename).parent.name}/{Path(code.co_filename).name})"
