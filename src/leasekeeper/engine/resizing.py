"""Another number of handlers for a runner at work.

Used by the consumer, on the engine's loop; `engine.sizing` decides and does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasekeeper.engine.runner import Runner


async def resize(concurrency: int, runner: Runner) -> str:
    """Let this many handlers of a runner run at the same time; what has changed, in words.

    Raises:
        ConfigurationError: this consumer cannot have it.
    """
    before = runner.sizing.options
    runner.sizing.apply(runner.sizing.checked(concurrency), runner.context.clock())
    return runner.sizing.said(before)
