"""Whether idempotency keys are kept as long as their messages may come: asked once, when a queue is opened.

A key that is forgotten before its message is gone protects nothing: the message may come after that, by a redrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.errors import SqsError
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import SqsApi
    from leasekeeper.options import Options

DAY = 86_400


async def check_keep(
    client: SqsApi, queue: str, attributes: Mapping[str, str], dead_letter_url: str | None, options: Options
) -> None:
    """Warn if `keep` is shorter than messages may stay in the queue and its dead-letter queue together."""
    keep: float | None = getattr(options.idempotency, "keep", None)
    if keep is None:
        return
    periods = [_retention(attributes)]
    if dead_letter_url is not None:
        try:
            periods.append(_retention(await client.queue_attributes(dead_letter_url)))
        except SqsError:  # it may be used, and not be looked at
            periods.append(None)
    known = [period for period in periods if period is not None]
    if known and keep < sum(known):
        where = "queue and its dead-letter queue" if len(known) > 1 else "queue"
        safe_logger(options.logger).warning(
            "queue %s: idempotency keys are kept for %.3g days, and messages for %.3g days in the %s: what comes later "
            "runs again; set keep=timedelta(days=%d) or more",
            queue,
            keep / DAY,
            sum(known) / DAY,
            where,
            -(-sum(known) // DAY),
        )


def _retention(attributes: Mapping[str, str]) -> int | None:
    text = attributes.get("MessageRetentionPeriod", "")
    return int(text) if text.isdecimal() else None
