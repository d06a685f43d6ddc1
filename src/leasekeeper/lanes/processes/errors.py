"""Errors of worker processes as plain values, and back: with their causes, and with tracebacks of the same lines.

Used on both sides of the pipe. No object of the user's crosses it: the engine makes classes of the same names. It makes
frames too, so that logs, the admin surface and error trackers show such an error as if it had been raised there.
"""

from __future__ import annotations

import traceback
from types import CodeType, FrameType, TracebackType
from typing import Any

from leasekeeper.errors import HandlerError
from leasekeeper.texts import safe_str
from leasekeeper.tracebacks import from_user_code

LONGEST = 50
"""Frames of a traceback that are taken along, the innermost; a recursion has a thousand."""
CHAIN = 20
"""Errors of a chain that are taken along."""
MOST_KINDS = 1_000
"""Kinds of errors that keep their class; a handler that makes classes without end must not fill the memory."""

_errors: dict[tuple[str, str], type[HandlerError]] = {}
_NOWHERE = b"\xff"
"""A piece of a code object's table of lines: eight instructions of no line. Columns would underline other words."""


def pack_error(error: BaseException) -> list[Any]:
    """An error and what led to it as plain values, each with its link to the next: a cause or a context."""
    packed: list[Any] = []
    each: BaseException | None = error
    seen = set[int]()
    while each is not None and id(each) not in seen and len(seen) < CHAIN:
        seen.add(id(each))
        kind = type(each)
        cause, context = each.__cause__, None if each.__suppress_context__ else each.__context__
        link = "cause" if cause is not None else "context" if context is not None else ""
        packed.append([kind.__module__, kind.__qualname__, safe_str(each), _frames(each), _notes(each), link])
        each = cause if cause is not None else context
    return packed


def _frames(error: BaseException) -> list[tuple[str, int, str]]:
    trace = from_user_code(error.__traceback__) or error.__traceback__
    frames = [(each.f_code.co_filename, line, each.f_code.co_name) for each, line in traceback.walk_tb(trace)]
    return frames[-LONGEST:]


def _notes(error: BaseException) -> list[str]:
    notes = [safe_str(note) for note in getattr(error, "__notes__", ())]
    if isinstance(error, BaseExceptionGroup):
        try:
            notes.append("".join(traceback.format_exception(error)))
        except Exception as failure:
            notes.append(f"(the errors of this group cannot be shown: {failure!r})")
    return notes


def unpack_error(packed: list[Any]) -> HandlerError:
    """The error again, of the class `HandlerError` under the name of the original class, with what led to it."""
    below: HandlerError | None = None
    for module, name, text, frames, notes, link in reversed(packed):
        error = _class_of(module, name)(text)
        for note in notes:
            error.add_note(note)
        if link == "cause":
            error.__cause__ = below
        elif link == "context":
            error.__context__ = below
        below = error.with_traceback(_traceback(frames))
    assert below is not None
    return below


def _class_of(module: str, name: str) -> type[HandlerError]:
    kind = _errors.get((module, name))
    if kind is None:
        kind = type(name.rpartition(".")[2], (HandlerError,), {"__module__": module, "__qualname__": name})
        if len(_errors) < MOST_KINDS:
            _errors[module, name] = kind
    return kind


def _traceback(frames: list[Any]) -> TracebackType | None:
    trace: TracebackType | None = None
    for file, line, name in reversed(frames):
        frame = _frame(file, name)
        trace = TracebackType(trace, frame, frame.f_lasti, line)
    return trace


def _frame(file: str, name: str) -> FrameType:
    """A frame of a function of this name in this file."""
    code = _RAISES.replace(co_filename=file, co_name=name, co_qualname=name)
    trace: Any = None
    try:
        exec(code, {"__name__": ""})  # noqa: S102 - code of ours, which has the names of theirs
    except NameError as error:
        trace = error.__traceback__
    frame: FrameType = trace.tb_next.tb_frame
    return frame


def _code_that_raises() -> CodeType:
    code = compile("zero", "<worker>", "exec")
    return code.replace(co_linetable=_NOWHERE * (len(code.co_code) // 16 + 1))


_RAISES = _code_that_raises()
