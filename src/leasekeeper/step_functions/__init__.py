"""Tasks of Step Functions: a state machine sends a message with a task token, and waits for the handler's result.

`StepFunctions` is given as the option `envelope`; nothing imports it unless users do.
"""

from __future__ import annotations

from leasekeeper.step_functions.envelope import StepFunctions
from leasekeeper.step_functions.task import StepFunctionsTask

__all__ = ["StepFunctions", "StepFunctionsTask"]
