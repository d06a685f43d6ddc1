"""Schedules: how a sender has messages sent later than SQS can delay them, and what it says of one.

Given to a sender by the user. Messages that wait are with EventBridge Scheduler, never in memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from leasekeeper.api import Credentials, CredentialsProvider

_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/.+")
_GROUP = re.compile(r"[0-9a-zA-Z_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Lets a sender schedule messages with EventBridge Scheduler: `Sender("orders", schedules=Schedules(role=...))`.

    Attributes:
        role: the ARN of the role that the scheduler takes; it needs `sqs:SendMessage` on the queue, and trusts
            `scheduler.amazonaws.com`. The sender needs `scheduler:CreateSchedule`, and `iam:PassRole` for it.
        group: the schedule group, which must exist.
        kms_key: the ARN of a key of yours that encrypts schedules; None: one of AWS.
        region: of the scheduler; None takes the sender's, as for `profile` and `credentials`.
        endpoint_url: of the scheduler; None: `AWS_ENDPOINT_URL_SCHEDULER`, else the region's.
        profile: of ~/.aws/config.
        credentials: as the option of a sender.

    Raises:
        ConfigurationError: the role is no ARN of one, or the group is no name of one.
    """

    role: str
    group: str = "default"
    kms_key: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    credentials: Credentials | CredentialsProvider | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _ROLE.fullmatch(self.role):
            raise ConfigurationError(
                f"Schedules(role={self.role!r}): must be the ARN of a role, e.g. arn:aws:iam::123456789012:role/later"
            )
        if not _GROUP.fullmatch(self.group):
            raise ConfigurationError(
                f"Schedules(group={self.group!r}): must have 1 to 64 letters, digits, hyphens, dots and underscores"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A message that will be sent later."""

    name: str
    """The name of the schedule; empty where SQS delays the message by itself."""
    at: datetime
    """When it is sent, at the earliest."""
    created: bool
    """False: a schedule of this name was there already, and stays as it is."""
