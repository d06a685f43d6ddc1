"""Options: one schema, every bound kept, every combination that cannot work refused with what to do about it."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from leasekeeper import ConfigurationError, Consumer, Leasekeeper, Linear, Options, Retries, Share, Table
from leasekeeper.given_options import make_options
from leasekeeper.option_values import OptionValues

FIELDS = {each.name: each for each in dataclasses.fields(Options)}
NUMBERS = [name for name, each in FIELDS.items() if str(each.type).startswith(("int", "float"))]
CHOICES = {name: each.metadata["choices"] for name, each in FIELDS.items() if each.metadata["choices"]}


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        make_options(values)
    return str(error.value)


def test_the_defaults_work_together() -> None:
    options = Options()
    assert (options.concurrency, options.visibility_timeout, options.wait_time) == (20, 30, 20.0)
    assert (options.extend_after, options.thread_count) == (15.0, 20)


def test_what_follows_from_options() -> None:
    assert Options(heartbeat_interval=5).extend_after == 5
    assert Options(visibility_timeout=1).extend_after == 0.5
    assert Options(concurrency=500).thread_count == 32
    assert Options(concurrency=500, threads=50).thread_count == 50
    assert (Options(concurrency=5).slots, Options(concurrency=5, batch=100).slots) == (5, 500)
    assert (Options().most_batch_bytes, Options(batch_bytes=9).most_batch_bytes) == (16_000_000, 9)


def test_keyword_values_are_the_options() -> None:
    """What an editor completes is what is accepted: same names, same order, same types."""
    kinds = get_type_hints(Options)
    assert list(get_type_hints(OptionValues).items()) == [(name, kinds[name]) for name in FIELDS]


def test_choices_are_those_of_the_types() -> None:
    hints = get_type_hints(Options)
    kinds = {name: (hints[name], *get_args(hints[name])) for name in CHOICES}
    literals = {name: get_args(next(kind for kind in of if get_origin(kind) is Literal)) for name, of in kinds.items()}
    assert literals == CHOICES


def test_every_option_has_its_words() -> None:
    for name, each in FIELDS.items():
        assert each.metadata["doc"].endswith("."), name
        assert each.metadata["unit"] in ("", "s"), name


def test_every_number_has_bounds() -> None:
    """Nothing that is computed from an option can overflow or become infinite."""
    assert [name for name in NUMBERS if None in (FIELDS[name].metadata["low"], FIELDS[name].metadata["high"])] == []


def test_sections_are_together_and_in_order() -> None:
    sections = [each.metadata["section"] for each in FIELDS.values()]
    assert [name for name, _ in itertools.groupby(sections)] == [
        "Handlers",
        "Processes",
        "Batches",
        "Limits",
        "Polling",
        "Lease",
        "Acknowledging",
        "FIFO queues",
        "Stopping",
        "Health",
        "Payloads",
        "Connection",
    ]


def test_options_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().concurrency = 5  # type: ignore[misc]  # the attempt


# Single values


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_below_its_bound_is_refused(name: str) -> None:
    low = FIELDS[name].metadata["low"]
    assert refusal(**{name: low - 1}).startswith(f"{name}={low - 1!r}: must be ")
    assert f" {low:g}" in refusal(**{name: low - 1})


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_above_its_bound_is_refused(name: str) -> None:
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    unit = " seconds" if FIELDS[name].metadata["unit"] else ""
    kind = "a whole number" if FIELDS[name].type in ("int", "int | None") else "a number"
    assert refusal(**{name: high + 1}) == f"{name}={high + 1!r}: must be {kind} from {low:g} to {high:.15g}{unit}"


MATES: dict[str, dict[str, Any]] = {
    "concurrency": {"max_in_flight": 120_000},
    "threads": {"concurrency": 1},
    "thread_queue_depth": {"concurrency": 1, "threads": 1},
    "pollers": {"concurrency": 500},
    "max_in_flight": {"concurrency": 1},
    "batch": {"concurrency": 1},
    "batch_bytes": {"concurrency": 1, "batch": 1},
    "on_batch_error": {"batch": 2},
    "heartbeat_interval": {"visibility_timeout": 43_200},
    "visibility_timeout": {"ack_interval": 0},
    "ack_interval": {"visibility_timeout": 100},
    "burst": {"rate": 1},
    "weight": {"share": Share(concurrency=5)},
    "priority": {"share": Share(concurrency=5)},
    "retry_base": {"retry_maximum": 43_200},
    "retry_maximum": {"retry_base": 0},
}
"""What an option at its bound needs beside it."""
for _each in ("workers", "max_tasks", "max_age", "max_rss", "kill_rss", "start_method"):
    MATES[_each] = {"lane": "processes"}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_at_its_bound_is_taken(name: str) -> None:
    for bound in ("low", "high"):
        value = FIELDS[name].metadata[bound]
        assert getattr(make_options({name: value, **MATES.get(name, {})}), name) == value


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_without_limit(name: str) -> None:
    for value in (float("inf"), -float("inf"), 10**400, -(10**400)):
        assert refusal(**{name: value}).startswith(f"{name}={value!r}: must be ")


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused(name: str) -> None:
    word = "a whole number" if str(FIELDS[name].type).startswith("int") else "a number"
    for value in ("5", True, float("nan"), [1]):
        assert refusal(**{name: value}).startswith(f"{name}={value!r}: must be {word}")


@pytest.mark.parametrize("name", [each for each in NUMBERS if str(FIELDS[each].type).startswith("int")])
def test_a_fraction_is_no_whole_number(name: str) -> None:
    assert refusal(**{name: 2.5}).startswith(f"{name}=2.5: must be a whole number")


@pytest.mark.parametrize("name", [each for each, field in FIELDS.items() if "None" in str(field.type)])
def test_what_may_be_unset_may_be_none(name: str) -> None:
    assert getattr(make_options({name: None}), name) is None


@pytest.mark.parametrize("name", [each for each in NUMBERS if "None" not in str(FIELDS[each].type)])
def test_what_must_be_set_may_not_be_none(name: str) -> None:
    assert refusal(**{name: None}).startswith(f"{name}=None: must be ")


@pytest.mark.parametrize("name", [each for each, field in FIELDS.items() if field.type == "bool"])
def test_a_switch_is_true_or_false(name: str) -> None:
    assert refusal(**{name: 1}) == f"{name}=1: must be True or False"
    assert getattr(make_options({name: True}), name) is True


@pytest.mark.parametrize(("name", "choices"), CHOICES.items())
def test_a_choice_is_one_of_those_there_are(name: str, choices: tuple[str, ...]) -> None:
    said = refusal(**{name: "other"})
    assert said.startswith(f"{name}='other': must be ")
    assert all(repr(each) in said for each in choices)
    assert ("None" in said) == ("None" in str(FIELDS[name].type))
    for each in choices:
        assert getattr(make_options({name: each, **MATES.get(name, {})}), name) == each


def test_a_choice_that_is_nearly_right_is_suggested() -> None:
    assert refusal(lane="process") == "lane='process': must be 'processes' or None; did you mean 'processes'?"


@pytest.mark.parametrize("name", ["region", "endpoint_url", "profile", "dead_letter_queue"])
def test_a_name_is_text(name: str) -> None:
    assert refusal(**{name: 5}) == f"{name}=5: must be text"
    assert getattr(make_options({name: "x"}), name) == "x"


@pytest.mark.parametrize("value", ["All", 5, [5], None, ("All", 5)], ids=repr)
def test_message_attributes_are_names(value: Any) -> None:
    assert refusal(message_attributes=value) == (
        f"message_attributes={value!r}: must be a sequence of names, e.g. ('All',)"
    )
    assert make_options({"message_attributes": ["bar.*"]}).message_attributes == ["bar.*"]


def test_middleware_is_a_sequence() -> None:
    """A single function given bare is the mistake that is made."""

    def timed(message: Any, call_next: Any) -> Any:
        return call_next(message)

    assert refusal(middleware=timed) == f"middleware={timed!r}: must be a sequence of functions, e.g. [timed]"
    assert refusal(middleware=5) == "middleware=5: must be a sequence of functions, e.g. [timed]"
    assert make_options({"middleware": [timed]}).middleware == [timed]


def test_a_logger_of_ones_own() -> None:
    logger = logging.getLogger("shop")
    assert Options(logger=logger).logger is logger
    assert Options().logger.name == "leasekeeper"


# Names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("concurency", "concurrency"),
        ("visibilityTimeout", "visibility_timeout"),
        ("thread", "threads"),
        ("timeout", "handler_timeout"),
        ("num_workers", "concurrency"),
        ("max_workers", "concurrency"),
        ("batch_size", "batch"),
        ("MaxNumberOfMessages", "receive_batch"),
        ("prefetch_multiplier", "prefetch"),
        ("soft_time_limit", "handler_timeout"),
        ("retry_delay", "retry_base"),
        ("max_retries", "max_attempts"),
        ("retries", "retry"),
        ("region_name", "region"),
        ("session", "credentials"),
    ],
)
def test_an_unknown_option_is_refused_with_the_one_that_was_meant(name: str, near: str) -> None:
    assert refusal(**{name: 5}) == f"unknown option {name!r}; did you mean {near!r}?"


def test_an_option_like_no_other_is_refused_in_one_short_sentence() -> None:
    assert refusal(zzz=5) == "unknown option 'zzz'; `help(leasekeeper.Options)` lists the options"


def test_the_number_of_receives_is_the_queues() -> None:
    assert refusal(maxReceiveCount=3) == (
        "unknown option 'maxReceiveCount': SQS counts the receives; set maxReceiveCount in the queue's redrive policy, "
        "or `max_attempts` here"
    )


def test_other_libraries_names_lead_to_options_that_exist() -> None:
    from leasekeeper import option_checks

    others = [name for names in option_checks._OTHER_NAMES.values() for name in names.split()]
    assert set(option_checks._OTHER_NAMES) <= set(FIELDS)
    assert not set(others) & set(FIELDS)
    assert len(others) == len(set(others))


# Combinations


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"heartbeat_interval": 23.0, "visibility_timeout": 30},
            (
                "heartbeat_interval=23.0 with visibility_timeout=30: the lease would end before its first "
                "extension; make the interval at most half of the timeout"
            ),
        ),
        (
            {"pollers": 41, "concurrency": 20},
            (
                "pollers=41 with concurrency=20: each poll needs room for a message; raise concurrency or "
                "prefetch, or lower pollers"
            ),
        ),
        (
            {"pollers": 26, "concurrency": 20, "prefetch": 5},
            (
                "pollers=26 with concurrency=20: each poll needs room for a message; raise concurrency or "
                "prefetch, or lower pollers"
            ),
        ),
        (
            {"threads": 4, "concurrency": 45},
            (
                "concurrency=45 with threads=4 and thread_queue_depth=10: 4 threads hold at most 44 messages; "
                "raise threads or lower concurrency"
            ),
        ),
        (
            {"retry_base": 10, "retry_maximum": 9},
            (
                "retry_base=10 with retry_maximum=9: the first back-off would be longer than the longest; raise "
                "retry_maximum to 10 or more, or lower retry_base"
            ),
        ),
        (
            {"retry": Table(1), "retry_base": 3.0},
            (
                "retry_base=3.0 with retry=Table(1, jitter='none', floor=1.0): both say how long a failed message "
                "waits; leave one of them out"
            ),
        ),
        (
            {"retry": Linear(5), "retry_maximum": 60},
            (
                "retry_maximum=60 with retry=Linear(step=5, base=None, maximum=900.0, jitter='equal', floor=1.0): both "
                "say how long a failed message waits; leave one of them out"
            ),
        ),
        (
            {"retry": 5},
            (
                "retry=5: must be Retries, Exponential, Linear, Table or a plain function of (message, attempt, "
                "error); for the same delay each time give Table(5)"
            ),
        ),
        (
            {"ack_interval": 30.0, "visibility_timeout": 30},
            (
                "ack_interval=30.0 with visibility_timeout=30: finished messages would wait for their delete "
                "until their lease ends; use a second or less"
            ),
        ),
        (
            {"group_concurrency": 2, "batch": 10},
            ("group_concurrency=2 with batch=10: a batch has messages of several groups; leave one of them out"),
        ),
        (
            {"fair": True, "share": Share(concurrency=5)},
            (
                "share=Share(concurrency=5) with fair=True: a share receives only what can start at once, so no "
                "messages wait here to choose from; leave one of them out"
            ),
        ),
        (
            {"weight": 3},
            "weight=3 without share: give the consumers one Share(concurrency=...) as share=, or leave weight out",
        ),
        (
            {"share": Share(concurrency=5), "batch": 10},
            (
                "share=Share(concurrency=5) with batch=10: a share counts handlers for single messages; leave one of "
                "them out"
            ),
        ),
        (
            {"share": Share(concurrency=5), "prefetch": 10},
            (
                "share=Share(concurrency=5) with prefetch=10: what waits here would keep its queue's place in the "
                "share; leave prefetch out"
            ),
        ),
        (
            {"burst": 5},
            "burst=5 without rate: set rate= to the handlers that may start in a second, or leave burst out",
        ),
        (
            {"max_in_flight": 19, "concurrency": 20},
            (
                "max_in_flight=19 with concurrency=20: handlers could never all be at work; raise max_in_flight "
                "or lower concurrency"
            ),
        ),
        (
            {"max_in_flight": 1_999, "concurrency": 4, "batch": 500},
            (
                "max_in_flight=1999 with concurrency=4 and batch=500: 4 batches of 500 are 2000 messages; lower "
                "concurrency or batch, or raise max_in_flight (SQS allows 120,000)"
            ),
        ),
        (
            {"dead_letter_queue": "dead", "on_reject": "redrive"},
            (
                "dead_letter_queue='dead' with on_reject='redrive': rejected messages would never be copied "
                "there; leave one of them out"
            ),
        ),
    ],
)
def test_a_combination_that_cannot_work_is_refused(values: dict[str, Any], sentence: str) -> None:
    assert refusal(**values) == sentence
    with pytest.raises(ConfigurationError):
        Options(**values)


def test_a_fifo_queue_refuses_share_fair_and_group_concurrency_at_the_declaration() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Consumer("orders.fifo", str.strip, share=Share(concurrency=5))
    assert "share=Share(concurrency=5) on a FIFO queue: its message groups cannot share" in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        Consumer("orders.fifo", str.strip, fair=True, group_concurrency=2)
    assert [sentence.partition(" on a")[0] for sentence in refused.value.args] == ["fair=True", "group_concurrency=2"]
    consumer = Consumer("orders.fifo", str.strip)
    with pytest.raises(ConfigurationError, match="fair=True on a FIFO queue"):
        consumer.configure({"fair": True})


def test_batches_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasekeeper.option_rules.available_memory", lambda: 256e6)
    assert refusal(batch=500, batch_bytes=100_000_000, concurrency=4) == (
        "batch_bytes=100000000 with concurrency=4: these batches may hold 400,000,000 bytes, and this process may use "
        "256,000,000; lower one of them"
    )
    assert make_options({"batch": 500, "batch_bytes": 64_000_000, "concurrency": 4}).slots == 2_000


@pytest.mark.parametrize(
    "values",
    [
        {"heartbeat_interval": 22.5, "visibility_timeout": 30},
        {"heartbeat_interval": 0.75, "visibility_timeout": 1},
        {"pollers": 40, "concurrency": 20},
        {"pollers": 25, "concurrency": 20, "prefetch": 5},
        {"threads": 4, "concurrency": 44},
        {"threads": 4, "concurrency": 4, "thread_queue_depth": 0},
        {"retry_base": 9, "retry_maximum": 9},
        {"retry": Retries(Table(1, 2), immediate=1), "max_attempts": 3},
        {"ack_interval": 29.9, "visibility_timeout": 30},
        {"max_in_flight": 20, "concurrency": 20},
        {"max_in_flight": 2_000, "concurrency": 4, "batch": 500},
        {"pollers": 80, "concurrency": 4, "batch": 10},
        {"dead_letter_queue": "dead", "on_reject": "dead-letter"},
    ],
)
def test_a_combination_that_just_works_is_taken(values: dict[str, Any]) -> None:
    assert make_options(values) == Options(**values)


def test_a_consumer_with_a_share_has_its_concurrency_unless_it_sets_its_own() -> None:
    share = Share(concurrency=7)
    assert make_options({"share": share}).concurrency == 7
    assert make_options({"share": share, "concurrency": 3}).concurrency == 3


@pytest.mark.parametrize("concurrency", [0, -1, 120_001, 2.5, "5", True, None])
def test_a_share_of_a_size_that_cannot_be_is_refused(concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a whole number from 1 to 120000"):
        Share(concurrency=concurrency)


def test_a_share_is_a_share() -> None:
    assert refusal(share=50) == "share=50: must be a Share, e.g. Share(concurrency=50)"


def test_an_interval_that_is_taken_beats_before_the_lease_is_over() -> None:
    """L3: whatever the timeout, the first extension is due before the lease as the ledger counts it ends."""
    from leasekeeper.core.delivery import LeasePolicy
    from leasekeeper.core.ledger import Ledger
    from leasekeeper.message import Received

    for visibility in (1, 2, 5, 30, 43_200):
        options = Options(visibility_timeout=visibility, heartbeat_interval=visibility * 0.75, ack_interval=0)
        ledger = Ledger(LeasePolicy(visibility=options.visibility_timeout, extend_after=options.extend_after))
        [row], _ = ledger.receive([Received(message_id="a", receipt="r")], requested_at=0.0, now=0.0)
        assert row.lease.due < row.lease.deadline


def test_a_misspelt_default_of_an_app_is_refused_when_the_app_is_made() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'concurency'; did you mean 'concurrency'"):
        Leasekeeper(concurency=2)  # type: ignore[call-arg]
