"""How a relay works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from leasekeeper.api import Credentials, CredentialsProvider, SqsApi
    from leasekeeper.sqs.address import QueueAddress

BOUNDS: dict[str, tuple[float, float]] = {"poll": (0.01, 3600), "parallel": (1, 100)}
"""The least and the most of each number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """How a relay works; `Relay` describes each."""

    poll: float
    parallel: int
    strict_order: bool
    client: SqsApi | None
    region: str | None
    endpoint_url: str | None
    profile: str | None
    credentials: Credentials | CredentialsProvider | None

    def check(self) -> None:
        """Refuse numbers out of their bounds.

        Raises:
            ConfigurationError: a number is out of its bounds.
        """
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise ConfigurationError(f"Relay({name}={value!r}): must be from {low:g} to {high:,}")

    def connection(self, queue: QueueAddress) -> ClientSettings:
        """How to reach a queue."""
        return ClientSettings(
            region=self.region,
            endpoint_url=self.endpoint_url,
            profile=self.profile,
            credentials=self.credentials,
            queue=queue,
        )
