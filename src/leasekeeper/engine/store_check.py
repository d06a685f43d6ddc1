"""Asking a store of idempotency keys, or an inbox, at the start: a table that is missing would cost receives (L18).

Used once by each start, after the queue is opened. What has no `counts` is not ours, and is not asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from leasekeeper.engine.opening import AGAIN
from leasekeeper.errors import ConfigurationError, LeasekeeperError, Unusable
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from leasekeeper.engine.context import SourceQueue
    from leasekeeper.options import Options


async def ask_store(options: Options, source: SourceQueue) -> None:
    """Ask the store of the option `idempotency`; one that is not up yet is waited for, as `wait_for_endpoint` says.

    Raises:
        ConfigurationError: its table does not exist.
        Unusable: it cannot be reached.
    """
    idempotency: Any = options.idempotency
    if getattr(idempotency, "counts", None) is None:
        return
    loop = asyncio.get_running_loop()
    began, waited = loop.time(), False
    while True:
        try:
            await idempotency.check()
        except ConfigurationError:
            raise
        except LeasekeeperError as error:
            left = began + options.wait_for_endpoint - loop.time()
            if left <= 0:
                raise Unusable(_sentence(source.name, error, options)) from error
            if not waited:
                safe_logger(options.logger).warning(
                    "queue %s: the store of idempotency keys is not up yet, waiting up to %.1f s: %s",
                    source.name,
                    left,
                    error,
                )
            waited = True
            await asyncio.sleep(min(AGAIN, left))
        else:
            return


def _sentence(queue: str, error: LeasekeeperError, options: Options) -> str:
    sentence = f"queue {queue}: the store of idempotency keys cannot be used: {error}; check its address and its server"
    if options.wait_for_endpoint:
        return sentence
    return f"{sentence}; to wait for a store that is still starting, set wait_for_endpoint"
