"""A queue's redrive policy, and names out of ARNs and URLs, as any server may write them.

Used by `peek`, `redrive` and `doctor`. Pure. It promises to read what it can and never to fail: other servers
than AWS's have other forms of ARNs and URLs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class RedrivePolicy:
    """Where SQS moves a message that was received too often.

    Attributes:
        target: the ARN of the dead-letter queue.
        max_receives: the receives that are allowed; None when the policy does not say it as a number.
    """

    target: str
    max_receives: int | None

    @classmethod
    def read(cls, attributes: Mapping[str, str]) -> Self | None:
        """The policy among a queue's attributes; None without one."""
        try:
            document = json.loads(attributes.get("RedrivePolicy") or "{}")
        except (ValueError, RecursionError):
            return None
        target = document.get("deadLetterTargetArn") if isinstance(document, dict) else None
        if not isinstance(target, str) or not target:
            return None
        return cls(target=target, max_receives=number(document.get("maxReceiveCount")))

    @property
    def name(self) -> str:
        """The name of the dead-letter queue."""
        return name_in(self.target)


def name_in(reference: str) -> str:
    """The name of the queue that an ARN or a URL means: what follows the last colon or slash."""
    return reference.rstrip("/").replace("/", ":").rpartition(":")[2]


def account_in(arn: str) -> str | None:
    """The account in an ARN of AWS: twelve digits; None in any other form."""
    parts = arn.split(":")
    return parts[4] if len(parts) == 6 and len(parts[4]) == 12 and parts[4].isdigit() else None


def number(value: object) -> int | None:
    """A whole number that may come as text; None when it is no number."""
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None
