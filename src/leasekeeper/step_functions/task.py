"""A task of a state machine, as its message has it."""

from __future__ import annotations

import msgspec


class StepFunctionsTask(msgspec.Struct, frozen=True):
    """A task of a state machine: the envelope that `StepFunctions` opens, in `message.envelopes`.

    Attributes:
        token: what a result is reported with.
        input: the task's input, as JSON.
        heartbeat_seconds: how often Step Functions expects a heartbeat; None: never.
    """

    token: str
    input: str
    heartbeat_seconds: float | None = None

    def __repr__(self) -> str:
        return f"<StepFunctionsTask, heartbeat_seconds={self.heartbeat_seconds}>"  # who has the token can end the task
