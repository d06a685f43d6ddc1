"""The scenarios that every client runs, with all figures in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from environments import Client

KILOBYTE = 1024


@dataclass(frozen=True, slots=True)
class Scenario:
    """One situation for clients.

    Attributes:
        letter: its name on the command line and in the results.
        title: what it is, in a few words.
        handler: "noop", "wait" or "burn"; seconds: what it waits or burns.
        messages: how many are released; fewer for slow clients (`Client.most`).
        limit: seconds from the release after which a run is over.
        latency: seconds that every answer of the server takes.
        visibility: seconds.
        size: characters of a body.
        rate: messages released a second; all at once without one.
        notes: whether handlers note when they start and finish.
        term_after: seconds from the release to SIGTERM; None: no SIGTERM.
        own_concurrency: whether a client may use the concurrency that suits it best.
    """

    letter: str
    title: str
    handler: str = "noop"
    seconds: float = 0.0
    messages: int = 0
    limit: float = 120.0
    latency: float = 0.0
    visibility: int = 30
    concurrency: int = 100
    size: int = 500
    rate: float | None = None
    notes: bool = False
    term_after: float | None = None
    own_concurrency: bool = False

    def count(self, client: Client) -> int:
        """How many messages a run of this client has."""
        return min(self.messages, client.most)

    def concurrency_of(self, client: Client) -> int:
        """How many handlers a client may run at once."""
        return client.concurrency if self.own_concurrency and client.concurrency else self.concurrency


NOOP = Scenario("A", "handlers that do nothing", messages=40_000, own_concurrency=True)
WAIT = Scenario(
    "B",
    "handlers that wait 20 ms, every call takes 10 ms",
    handler="wait",
    seconds=0.02,
    messages=10_000,
    limit=30.0,
    latency=0.01,
    notes=True,
)
BURN = Scenario(
    "C",
    "handlers that need 1 ms of CPU",
    handler="burn",
    seconds=0.001,
    messages=3_000,
    own_concurrency=True,
)
LEASE = Scenario(
    "D",
    "handlers that take 12 s, a visibility timeout of 4 s",
    handler="wait",
    seconds=12.0,
    messages=200,
    limit=20.0,
    latency=0.01,
    visibility=4,
    concurrency=200,
    notes=True,
)
IDLE = Scenario("E", "nothing to do", own_concurrency=True)
STOP = replace(WAIT, letter="G", title="SIGTERM during B", visibility=60, term_after=1.0)
LARGE = Scenario("H64", "bodies of 64 KiB", messages=1_000, size=64 * KILOBYTE, visibility=120, own_concurrency=True)
LARGEST = replace(LARGE, letter="H1M", title="bodies of 1 MiB", messages=100, size=1024 * KILOBYTE)
TRICKLE = Scenario(
    "I",
    "50 messages a second for 20 s, every call takes 10 ms",
    messages=1_000,
    limit=35.0,
    latency=0.01,
    rate=50.0,
    notes=True,
)

SCENARIOS = {each.letter: each for each in (NOOP, WAIT, BURN, LEASE, IDLE, STOP, LARGE, LARGEST, TRICKLE)}
"""All scenarios that run; F is calculated from B's runs."""


def chosen(letters: str) -> list[Scenario]:
    """The scenarios of these letters ("ABH"): H is both of its sizes, F is B."""
    wanted = {"B" if letter == "F" else letter for letter in letters.upper()}
    if unknown := wanted - {letter[0] for letter in SCENARIOS}:
        raise SystemExit(
            f"no such scenario: {', '.join(sorted(unknown))}; there are A to I, and {letters!r} was asked for"
        )
    return [scenario for letter, scenario in SCENARIOS.items() if letter[0] in wanted]


def quick(scenario: Scenario) -> Scenario:
    """The same scenario with few messages, as a check that it works."""
    few = {"A": 2_000, "B": 1_000, "C": 300, "D": 40, "G": 5_000, "H64": 50, "H1M": 10, "I": 100}
    shorter = replace(scenario, messages=few.get(scenario.letter, 0), limit=min(scenario.limit, 30.0))
    return replace(shorter, seconds=6.0, limit=10.0) if scenario is LEASE else shorter
