"""Options that have no effect as they are given: a warning at the start says so, because they were given for a reason.

Pure. What cannot work at all is refused in `option_rules.py`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from leasekeeper.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_BATCHES = ("batch_wait", "batch_bytes", "on_batch_error", "batch_groups", "batch_key")
_OF_FIFO = ("fifo_ack", "local_retry_limit")
_OF_THREADS = ("threads", "thread_queue_depth")
_USUAL = {option.name: option.default for option in dataclasses.fields(Options)}


def without_effect(options: Options, *, fifo: bool, is_coroutine: bool) -> Iterator[str]:
    """A sentence for each option that changes nothing; it begins with the option's name and `=`.

    Args:
        options: of a consumer.
        fifo: whether its queue is a FIFO queue.
        is_coroutine: whether its handlers are `async def`.
    """
    given = {name: getattr(options, name) for name, usual in _USUAL.items() if getattr(options, name) != usual}
    for name in given.keys() & set(_OF_BATCHES):
        if options.batch is None:
            yield f"{name}={given[name]!r} has no effect without batch: set batch=, or leave {name} out"
    if "batch_groups" in given and options.batch is not None and not fifo:
        yield "batch_groups='several' has no effect on a standard queue, which has no order: leave it out"
    for name in given.keys() & set(_OF_FIFO):
        if not fifo:
            yield f"{name}={given[name]!r} has no effect on a standard queue: leave it out"
    for name in given.keys() & set(_OF_THREADS):
        if is_coroutine:
            yield f"{name}={given[name]!r} has no effect on `async def` handlers, which run in no threads: leave it out"
    if options.dispatch == "pool" and not is_coroutine:
        yield "dispatch='pool' has no effect on `def` handlers, which run in threads: leave it out"
    if "idle_timeout" in given and options.dispatch != "pool":
        yield f"idle_timeout={options.idle_timeout:g} has no effect without dispatch='pool': leave it out"
    most = options.group_concurrency
    if most is not None and most >= options.concurrency:
        yield (
            f"group_concurrency={most} with concurrency={options.concurrency} limits nothing: no group can have more "
            "handlers than there are; lower it, or use fair=True"
        )
    if "max_pollers" in given and options.pollers is not None:
        yield f"max_pollers={options.max_pollers} has no effect with pollers={options.pollers}: leave one of them out"
