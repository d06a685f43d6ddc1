"""The supervisor's decisions, with the time as an argument."""

from __future__ import annotations

import signal

import pytest

from leasekeeper.supervision.commands import Command, Kill, Say, Start, Stop
from leasekeeper.supervision.endings import Ending
from leasekeeper.supervision.policy import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MARGIN,
    ONE_SIGNAL,
    RELOAD_DRAIN,
    STEADY,
    TRIES,
    UNREADY_STOP,
    Policy,
    State,
)


class Run:
    """A policy and its time; the commands without the words, and the words."""

    def __init__(self, count: int = 2, *, reloading: bool = False, ready: bool = True) -> None:
        self.policy = Policy(count, reloading=reloading)
        self.now = 100.0
        self.words: list[str] = []
        self.levels: list[str] = []
        assert self.did(self.policy.begin(self.now)) == [Start(number) for number in range(1, count + 1)]
        for number in range(1, count + 1):
            self.started(number)
            if ready:
                self.ready(number)

    def did(self, commands: list[Command]) -> list[Command]:
        self.words += [each.words for each in commands if isinstance(each, Say)]
        self.levels += [each.level for each in commands if isinstance(each, Say)]
        return [each for each in commands if not isinstance(each, Say)]

    def started(self, number: int) -> None:
        self.policy.started(number, 1000 + number)

    def ready(self, number: int, longest_stop: float = 30.0) -> None:
        self.did(self.policy.ready(number, longest_stop, self.now))

    def ended(self, number: int, status: int, because: str = "") -> list[Command]:
        if because:
            self.policy.ends(number, because)
        return self.did(self.policy.ended(number, status, self.now))

    def signalled(self) -> list[Command]:
        return self.did(self.policy.signalled(self.now))

    def after(self, seconds: float) -> list[Command]:
        self.now += seconds
        return self.did(self.policy.tick(self.now))

    @property
    def states(self) -> list[State]:
        return [each.state for each in self.policy.processes.values()]


def test_a_signal_stops_each_process_once_and_the_code_is_the_worst() -> None:
    run = Run(3)
    assert run.signalled() == [Stop(1), Stop(2), Stop(3)]
    assert run.words == ["stopping processes 1, 2 and 3, in at most 30 s; a second signal cuts that short"]
    assert [run.ended(1, 0), run.ended(2, 1), run.ended(3, 0)] == [[], [], []]
    assert run.policy.over
    assert run.policy.code == 1


def test_signals_at_the_same_time_are_one() -> None:
    """A terminal and the programs between it and this one may each send the same Ctrl-C."""
    run = Run()
    assert run.signalled() == [Stop(1), Stop(2)]
    assert run.signalled() == []
    run.now += ONE_SIGNAL - 0.01
    assert run.signalled() == []
    assert run.policy.signals == 1


def test_a_second_signal_forces_and_a_third_kills() -> None:
    run = Run(2)
    run.signalled()
    run.ended(2, 0)
    run.now += 1
    assert run.signalled() == [Stop(1, force=True)]
    run.now += 1
    assert run.signalled() == [Kill(1)]
    assert run.ended(1, -signal.SIGKILL) == []
    assert run.words[1:] == [
        "a second signal: process 1 cut the drain short; what runs is cancelled and given back",
        "another signal: killing process 1",
    ]
    assert str(run.policy.processes[1].last) == "SIGKILL (killed by the supervisor)"
    assert run.policy.over
    assert run.policy.code == 1
    run.now += 1
    assert run.signalled() == []


def test_a_process_that_takes_longer_than_it_may_is_killed() -> None:
    run = Run(1)
    run.ready(1, longest_stop=30)
    run.signalled()
    assert run.policy.due == run.now + 30 + MARGIN
    assert run.after(30 + MARGIN - 0.1) == []
    assert run.after(0.2) == [Kill(1)]
    assert run.after(100) == []
    assert run.ended(1, -signal.SIGKILL) == []
    assert run.words[1:] == ["the process (pid 1001) has not stopped in 35 s: killing it"]


def test_a_process_that_was_never_ready_has_little_time_to_stop_unless_it_becomes_ready_then() -> None:
    run = Run(1, ready=False)
    run.signalled()
    assert run.policy.due == run.now + UNREADY_STOP + MARGIN
    run.now += 1
    run.ready(1, longest_stop=50)
    assert run.policy.due == run.now - 1 + 50 + MARGIN
    assert run.states == [State.STOPPING]


def test_a_process_that_a_signal_ends_before_it_was_ready_has_stopped_well() -> None:
    run = Run(1, ready=False)
    run.signalled()
    assert run.ended(1, -signal.SIGTERM) == []
    assert run.policy.code == 0
    assert len(run.words) == 1


def test_a_dead_process_is_started_again_ever_later_and_the_log_says_why() -> None:
    run, pauses = Run(2), []
    for _ in range(9):
        assert run.ended(1, -signal.SIGSEGV) == []
        due = run.policy.due
        assert due is not None
        pauses.append(due - run.now)
        assert run.after(pauses[-1]) == [Start(1)]
        run.started(1)
        run.ready(1)
    assert pauses == [FIRST_PAUSE, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert run.words[0] == (
        "process 1 (pid 1001) ended with SIGSEGV (a crash in native code); starting another in 0.5 s"
    )
    assert run.policy.processes[1].restarts == 9
    assert run.states == [State.READY, State.READY]

    run.now += STEADY
    run.ended(1, 1)
    assert run.policy.due == run.now + FIRST_PAUSE


def test_a_signal_in_the_pause_ends_it() -> None:
    run = Run(1)
    run.ended(1, -signal.SIGKILL)
    assert run.signalled() == []
    assert run.policy.over
    assert run.policy.code == 1


@pytest.mark.parametrize(
    ("status", "ready", "then"),
    [
        (2, False, "once the configuration is corrected"),
        (3, False, "once what is missing is there"),
        (3, True, "once what is missing is there"),
    ],
)
def test_what_another_start_now_does_not_change_stops_all(status: int, ready: bool, then: str) -> None:
    run = Run(3, ready=ready)
    assert run.ended(2, status, because="itself" if ready else "") == [Stop(1), Stop(3)]
    assert f"giving up: process 2 (pid 1002) ended with exit code {status} (" in run.words[0]
    assert run.words[0].endswith(f"; another start helps only {then}; stopping processes 1 and 3")
    run.ended(1, 0)
    run.ended(3, 0)
    assert run.policy.over
    assert run.policy.code == status


def test_a_queue_that_cannot_be_reached_when_a_process_is_replaced_is_tried_again() -> None:
    """What is needed outside was there before: it may be back in a moment."""
    run = Run(3)
    run.ended(2, -signal.SIGKILL)
    assert run.after(FIRST_PAUSE) == [Start(2)]
    assert run.ended(2, 3) == []
    assert run.words[-1].endswith("; starting another in 1 s")
    assert run.after(2 * FIRST_PAUSE) == [Start(2)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("status", [0, 1, 2, 3, 7])
def test_a_ready_process_that_ends_and_does_not_say_why_is_started_again(status: int, count: int) -> None:
    """A handler may call `os._exit` with any code: none of them means what the code of `leasekeeper run` means."""
    run = Run(count)
    assert run.ended(1, status) == []
    (words,) = run.words
    assert f"(pid 1001) ended with exit code {status} (it was not told to stop, and did not say why it ends)" in words
    assert words.endswith("; starting another in 0.5 s")
    assert run.levels == ["error"]
    assert run.policy.code == 1  # what it held is not settled
    assert run.after(FIRST_PAUSE) == [Start(1)]


def test_a_ready_process_that_ends_with_exit_code_3_while_the_code_is_watched_waits_for_a_change() -> None:
    run = Run(1, reloading=True)
    assert run.ended(1, 3) == []
    assert "cannot be used" not in run.words[0]
    assert run.states == [State.IDLE]


def test_a_process_that_never_becomes_ready_is_tried_a_few_times() -> None:
    run = Run(2, ready=False)
    run.ready(2)
    for _ in range(TRIES - 1):
        assert run.ended(1, 1) == []
        assert run.after(LONGEST_PAUSE) == [Start(1)]
        run.started(1)
    assert run.ended(1, 1) == [Stop(2)]
    assert "before it was ready, 3 times in a row; stopping process 2" in run.words[-1]
    assert run.policy.code == 1


def test_a_process_that_worked_once_is_tried_for_ever() -> None:
    run = Run(1)
    for _ in range(3 * TRIES):
        run.ended(1, 1)
        assert run.after(LONGEST_PAUSE) == [Start(1)]


def test_a_process_that_cannot_be_made_is_tried_again() -> None:
    run = Run(2)
    run.ended(1, -signal.SIGKILL)
    run.after(FIRST_PAUSE)
    assert run.did(run.policy.failed_to_start(1, "no memory", run.now)) == []
    assert run.words[-1] == "process 1: no memory; it could not be started; starting another in 1 s"
    assert run.after(1) == [Start(1)]


def test_a_process_that_another_program_stops_is_replaced_at_once() -> None:
    run = Run()
    run.ended(1, 0, because="signal")
    assert run.after(0) == [Start(1)]
    assert run.words == ["process 1 (pid 1001) was told to stop from outside, and has; starting another"]


def test_a_process_that_is_stopped_again_and_again_is_replaced_ever_later() -> None:
    run, pauses = Run(), []
    for _ in range(4):
        run.ended(1, 0, because="signal")
        due = run.policy.due
        assert due is not None
        pauses.append(due - run.now)
        run.after(pauses[-1])
        run.started(1)
        run.ready(1)
    assert pauses == [0, 1, 2, 4]
    assert run.words[1].endswith("; starting another in 1 s")


def test_a_process_of_several_that_is_stopped_before_it_is_ready_is_replaced() -> None:
    run = Run(2, ready=False)
    run.ended(1, 0)
    assert run.after(0) == [Start(1)]


@pytest.mark.parametrize("code", [0, 1])
def test_when_all_have_ended_by_themselves_it_is_over(code: int) -> None:
    run = Run()
    assert run.ended(1, code, because="itself") == []
    assert not run.policy.over
    assert run.ended(2, 0, because="itself") == []
    assert run.policy.over
    assert run.policy.code == code


@pytest.mark.parametrize("status", [1, 2, 3])
def test_one_process_that_cannot_start_ends_with_its_code_and_is_the_only_one_to_say_why(status: int) -> None:
    run = Run(1, ready=False)
    assert run.ended(1, status) == []
    assert run.policy.over
    assert (run.policy.code, run.words) == (status, [])


def test_one_process_that_ends_at_a_signal_before_it_is_ready_ends_all() -> None:
    run = Run(1, ready=False)
    assert run.ended(1, 0) == []
    assert run.policy.over
    assert (run.policy.code, run.words) == (0, [])


def test_of_one_process_that_says_nothing_before_it_dies_the_supervisor_says_why() -> None:
    run = Run(1, ready=False)
    run.ended(1, -signal.SIGSEGV)
    assert run.words == [
        "giving up: the process (pid 1001) ended with SIGSEGV (a crash in native code) before it was ready"
    ]
    other = Run(1, ready=False)
    other.did(other.policy.failed_to_start(1, "no memory", other.now))
    assert other.words == ["giving up: the process: no memory; it could not be started"]
    assert other.policy.over


def test_one_process_is_not_numbered() -> None:
    run = Run(1)
    run.signalled()
    run.now += 1
    run.signalled()
    assert run.words == [
        "stopping, in at most 30 s; a second signal cuts that short",
        "a second signal: what runs is cancelled and given back",
    ]


def test_a_change_of_the_code_drains_for_a_short_time_and_starts_again() -> None:
    run = Run(2, reloading=True)
    assert run.did(run.policy.changed(run.now)) == [Stop(1), Stop(2)]
    assert run.ended(1, 0, because="signal") == [Start(1)]
    assert run.after(RELOAD_DRAIN) == [Stop(2, force=True)]
    assert run.ended(2, 0) == [Start(2)]
    assert run.states == [State.STARTING, State.STARTING]


def test_a_change_while_it_stops_for_one_is_one_start() -> None:
    run = Run(1, reloading=True)
    assert run.did(run.policy.changed(run.now)) == [Stop(1)]
    assert run.did(run.policy.changed(run.now)) == []
    assert run.ended(1, 0) == [Start(1)]


def test_a_process_that_ends_while_the_code_is_watched_waits_for_the_next_change() -> None:
    run = Run(1, reloading=True, ready=False)
    assert run.ended(1, 2) == []
    assert run.words == [
        "the process (pid 1001) ended with exit code 2 (wrong usage or configuration); waiting for a change of the code"
    ]
    assert run.policy.due is None
    assert not run.policy.over
    assert run.did(run.policy.changed(run.now)) == [Start(1)]


def test_a_signal_while_it_waits_for_a_change_ends_it() -> None:
    run = Run(1, reloading=True, ready=False)
    run.ended(1, 2)
    assert run.signalled() == []
    assert run.policy.over


def test_a_change_after_a_signal_starts_nothing() -> None:
    run = Run(2, reloading=True)
    run.did(run.policy.changed(run.now))
    run.signalled()
    assert run.did(run.policy.changed(run.now)) == []
    assert [run.ended(1, 0), run.ended(2, 0)] == [[], []]
    assert run.policy.over


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (0, "exit code 0 (everything settled)", 0),
        (7, "exit code 7", 7),
        (-signal.SIGABRT, "SIGABRT (aborted by native code)", 1),
        (-signal.SIGUSR1, "SIGUSR1", 1),
        (-64, "SIGRTMAX", 1),
        (-63, "signal 63", 1),
    ],
)
def test_endings_in_words(status: int, words: str, code: int) -> None:
    assert str(Ending(status)) == words
    assert Ending(status).code == code


def test_the_end_of_what_all_need_stops_all_with_its_code() -> None:
    run = Run(2)
    assert run.did(run.policy.failed("the local SQS ended with exit code 2", run.now, 2)) == [Stop(1), Stop(2)]
    assert run.words == ["giving up: the local SQS ended with exit code 2"]
    assert run.did(run.policy.failed("again", run.now)) == []
    assert [run.ended(1, 0), run.ended(2, 0)] == [[], []]
    assert run.policy.code == 2
