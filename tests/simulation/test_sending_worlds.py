"""Worlds with handlers that send, over kills and faults; and mistakes of a sender that these worlds must notice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from sending_simulation import violations

from leasekeeper.api import Sent
from leasekeeper.sending import senders
from leasekeeper.sending.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

WORLDS, IN_A_TEST = int(os.environ.get("LEASEKEEPER_WORLDS", "60")) // 15, 2
SEEDS = 40
"""How many worlds may pass before one notices a mistake."""


@pytest.mark.parametrize("first", range(0, WORLDS, IN_A_TEST))
def test_what_a_handler_sends_is_there_when_its_message_is_gone(first: int) -> None:
    for seed in range(first, first + IN_A_TEST):
        assert violations(seed) == [], f"violations({seed})"


def _a_failed_entry_is_dropped() -> AbstractContextManager[Any]:
    """What SQS refuses for a while counts as sent, as a client does that looks at the HTTP status alone."""
    answered = Dispatcher._ready_again

    def mutated(self: Dispatcher, entry: Any, failure: Any, now: float) -> float | None:
        answered(self, entry, failure, now)
        entry.answer(Sent("", ""))
        entry.answer = None
        return None

    return mock.patch.object(Dispatcher, "_ready_again", mutated)


def _posts_are_not_waited_for() -> AbstractContextManager[Any]:
    """The message is deleted although what its handler posted has no answer yet."""
    return mock.patch.object(senders, "_posts", return_value=())


def _failures_of_posts_are_passed_over() -> AbstractContextManager[Any]:
    """The message is deleted although what its handler posted could not be sent."""
    return mock.patch.object(senders, "_raise_unsent", return_value=None)


@pytest.mark.parametrize(
    "mutation", [_a_failed_entry_is_dropped, _posts_are_not_waited_for, _failures_of_posts_are_passed_over]
)
def test_the_worlds_notice_a_mistake(mutation: Callable[[], AbstractContextManager[Any]]) -> None:
    with mutation():
        assert any(violations(seed) for seed in range(SEEDS)), mutation.__doc__
