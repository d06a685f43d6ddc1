"""Calls with faults: late, refused, without an answer, or only partly done, as the switches say.

Owned by a broker, which makes all other calls itself. It promises that a fault changes no message but by a call that a
client could have made.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from leasekeeper.local.faults import CallFault, NoAnswer
from leasekeeper.local.model import Refusal, refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from leasekeeper.local.faults import CallPlan, Faults
    from leasekeeper.local.model.fields import Answer, Request

_BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")


class FaultyCalls:
    """Performs calls with what the switched-on faults do to them.

    Args:
        faults: what is switched on.
        perform: performs a call without faults.
        spoil: makes the attempt id of a receive useless, as SQS does when it throttles one.
        outlive_client: goes on with a call whose client has disconnected.
    """

    def __init__(
        self,
        faults: Faults,
        *,
        perform: Callable[[str, Request], Answer | Awaitable[Answer]],
        spoil: Callable[[Request], None],
        outlive_client: Callable[[Awaitable[Answer]], None],
    ) -> None:
        self._faults = faults
        self._perform = perform
        self._spoil = spoil
        self._outlive_client = outlive_client

    async def call(self, operation: str, request: Request) -> Answer:
        """Perform a call with the faults that are drawn for it.

        Raises:
            Refusal: the error that SQS answers with.
            NoAnswer: a fault took the answer.
        """
        plan = self._faults.draw(operation)
        await self._delay_request(operation, request, plan.latency / 2)
        if plan.fault is CallFault.HANG:
            await _for_ever()
        outcome: Answer | Exception
        try:
            outcome = await self._take_effect(operation, request, plan)
        except (Refusal, NoAnswer) as error:
            outcome = error
        if plan.latency:
            await asyncio.sleep(plan.latency / 2)
        if plan.fault is CallFault.LOSE:
            await _for_ever()
        if plan.fault is CallFault.LOSE_BY_RESET:
            raise NoAnswer(garbage=False)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _delay_request(self, operation: str, request: Request, seconds: float) -> None:
        if not seconds:
            return
        loop = asyncio.get_running_loop()
        arrival = loop.time() + seconds
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            # The client has disconnected, and its call is on the way and takes effect. A receive would take messages
            # that no client sees; that is another fault, `dead_polls`.
            if operation != "ReceiveMessage" or self._faults.dead_polls:
                loop.call_at(arrival, self._apply_without_client, operation, request)
            raise

    def _apply_without_client(self, operation: str, request: Request) -> None:
        with suppress(Refusal):
            answer = self._perform(operation, request)
            if isawaitable(answer):
                self._outlive_client(answer)

    async def _take_effect(self, operation: str, request: Request, plan: CallPlan) -> Answer:
        if plan.fault is CallFault.THROTTLE:
            if operation == "ReceiveMessage":
                self._spoil(request)
            raise refusals.throttled("The request was denied due to request throttling.")
        if plan.fault is CallFault.UNAVAILABLE:
            raise refusals.unavailable()
        if plan.fault is CallFault.DENY:
            raise refusals.access_denied(f"User is not authorized to perform: sqs:{operation} on this resource.")
        if plan.fault in (CallFault.RESET, CallFault.GARBAGE):
            raise NoAnswer(garbage=plan.fault is CallFault.GARBAGE)
        if operation == "ReceiveMessage":
            return await self._receive_with_faults(request, plan)
        if operation in _BATCHES and (plan.switches.fail_entries or plan.switches.lose_entries):
            return await self._batch_with_faults(operation, request, plan)
        return await _finished(self._perform(operation, request))

    async def _receive_with_faults(self, request: Request, plan: CallPlan) -> Answer:
        if self._faults.happens(plan.switches.empty):
            return {}
        most = request.get("MaxNumberOfMessages")
        if isinstance(most, int) and 1 < most <= 10 and self._faults.happens(plan.switches.shorten):
            request = {**request, "MaxNumberOfMessages": self._faults.random.randint(1, most - 1)}
        answer = await _finished(self._perform("ReceiveMessage", request))
        if str(request.get("QueueUrl")).endswith(".fifo"):
            return answer  # SQS delivers no message of a FIFO queue a second time while its visibility timeout lasts
        for message in answer.get("Messages", ()):
            if self._faults.happens(plan.switches.duplicate):
                again = {**request, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                self._perform("ChangeMessageVisibility", again)
        return answer

    async def _batch_with_faults(self, operation: str, request: Request, plan: CallPlan) -> Answer:
        entries = request.get("Entries")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            return await _finished(self._perform(operation, request))
        switches = plan.switches
        failing = [self._faults.happens(switches.fail_entries) for _ in entries]
        others = [entry for entry, fails in zip(entries, failing, strict=True) if not fails]
        answer: Answer = {}
        if others or not entries:
            answer = await _finished(self._perform(operation, {**request, "Entries": others}))
        failed = [_failed(entry) for entry, fails in zip(entries, failing, strict=True) if fails]
        if switches.lose_entries:
            answer = {**answer, "Successful": list(answer.get("Successful", ()))}
            for entry in answer["Successful"][:]:
                if self._faults.happens(switches.lose_entries):
                    answer["Successful"].remove(entry)
                    failed.append(_failed(entry))
        return {**answer, "Failed": [*answer.get("Failed", ()), *failed]} if failed else answer


async def _finished(answer: Answer | Awaitable[Answer]) -> Answer:
    return answer if isinstance(answer, dict) else await answer


def _failed(entry: dict[str, Any]) -> dict[str, Any]:
    message = "We encountered an internal error. Please try again."
    return {"Id": entry.get("Id"), "Code": "InternalError", "Message": message, "SenderFault": False}


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
