"""Options from flags, environment and TOML: one schema, one precedence, errors that name their source."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from leasekeeper.cli import settings
from leasekeeper.cli.settings import RunSettings, Setting
from leasekeeper.errors import ConfigurationError
from leasekeeper.options import Options

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {field.name: field for field in dataclasses.fields(Options)}
CONFIGURABLE = [name for name, field in FIELDS.items() if field.metadata["configurable"]]


def test_every_configurable_option_is_in_the_schema_and_no_other() -> None:
    assert [each.name for each in settings.schema()] == CONFIGURABLE


def test_every_option_has_the_section_of_the_schema() -> None:
    sections = {option.name: option.section for option in settings.schema()}
    assert sections == {name: FIELDS[name].metadata["section"] for name in CONFIGURABLE}


def test_the_words_of_an_option_give_default_and_bounds() -> None:
    words = {each.name: each for each in settings.schema()}
    assert words["wait_time"].flag == "--wait-time"
    assert words["wait_time"].variable == "LEASEKEEPER_WAIT_TIME"
    assert words["wait_time"].metavar == "SECONDS"
    assert words["wait_time"].help == "Long-poll wait of a receive. [default: 20; 0 to 20]"
    assert words["dispatch"].metavar == "semaphore|pool"
    assert words["prefetch"].help.endswith("[0 to 120000]")


@pytest.mark.parametrize(
    ("name", "said", "value"),
    [
        ("concurrency", "50", 50),
        ("wait_time", "1.5", 1.5),
        ("throttle", "off", False),
        ("throttle", "TRUE", True),
        ("prefetch", "none", None),
        ("prefetch", "0", 0),
        ("message_attributes", "tenant, trace.*", ("tenant", "trace.*")),
        ("dispatch", "pool", "pool"),
        ("endpoint_url", "http://127.0.0.1:9324", "http://127.0.0.1:9324"),
        ("envelope", "sns,s3", "sns,s3"),
        ("envelope", "none", None),
    ],
)
def test_what_a_variable_says_becomes_a_value_that_options_take(name: str, said: str, value: object) -> None:
    variable = f"LEASEKEEPER_{name.upper()}"
    layer = settings.from_environment({variable: said})
    assert layer == {name: Setting(value, variable)}
    assert getattr(Options(**settings.values(layer)), name) == value


def test_an_empty_variable_says_nothing() -> None:
    assert settings.from_environment({"LEASEKEEPER_CONCURRENCY": ""}) == {}


def test_flags_that_were_not_given_say_nothing() -> None:
    assert settings.from_flags({"concurrency": "7", "wait_time": None, "throttle": None, "message_attributes": []}) == {
        "concurrency": Setting(7, "--concurrency")
    }
    assert settings.from_flags({"throttle": False}) == {"throttle": Setting(False, "--throttle")}


@pytest.mark.parametrize(
    ("variable", "said", "sentence"),
    [
        (
            "LEASEKEEPER_CONCURRENCY",
            "many",
            "LEASEKEEPER_CONCURRENCY='many': must be a whole number from 1 to 120000",
        ),
        ("LEASEKEEPER_WAIT_TIME", "long", "LEASEKEEPER_WAIT_TIME='long': must be a number from 0 to 20 seconds"),
        ("LEASEKEEPER_THROTTLE", "perhaps", "LEASEKEEPER_THROTTLE='perhaps': must be true or false"),
    ],
)
def test_a_value_that_cannot_be_read_names_source_option_and_value(variable: str, said: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings.from_environment({variable: said})
    assert str(caught.value) == sentence


def test_a_flag_wins_over_a_variable_over_the_queues_table_over_the_table() -> None:
    said = RunSettings(
        file={name: Setting(1, "file") for name in ("a", "b", "c", "d")},
        queues={"orders": {name: Setting(2, "queue") for name in ("b", "c", "d")}},
        environment={name: Setting(3, "environment") for name in ("c", "d")},
        flags={"d": Setting(4, "flag")},
    )
    assert settings.values(said.of("orders")) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert settings.values(said.of("https://sqs.eu-west-1.amazonaws.com/123456789012/orders")) == {
        "a": 1,
        "b": 2,
        "c": 3,
        "d": 4,
    }
    assert settings.values(said.of("bills")) == {"a": 1, "b": 1, "c": 3, "d": 4}


def test_pyproject_is_read_when_it_is_there(tmp_path: Path) -> None:
    assert settings.from_file(None, tmp_path) == ({}, {})
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert settings.from_file(None, tmp_path) == ({}, {})
    (tmp_path / "pyproject.toml").write_text(
        "[tool.leasekeeper]\nconcurrency = 9\nwait-time = 2.5\nmessage_attributes = ['a']\nprefetch = 'none'\n"
        "[tool.leasekeeper.queues.orders]\nthrottle = false\n"
    )
    general, queues = settings.from_file(None, tmp_path)
    source = "pyproject.toml [tool.leasekeeper]"
    assert general == {
        "concurrency": Setting(9, source),
        "wait_time": Setting(2.5, source),
        "message_attributes": Setting(("a",), source),
        "prefetch": Setting(None, source),
    }
    assert queues == {"orders": {"throttle": Setting(False, "pyproject.toml [tool.leasekeeper.queues.orders]")}}


def test_a_separate_file_has_a_shorter_table(tmp_path: Path) -> None:
    path = tmp_path / "prod.toml"
    path.write_text("[leasekeeper]\nconcurrency = 9\n")
    general, _ = settings.from_file(path, tmp_path)
    assert general == {"concurrency": Setting(9, "prod.toml [leasekeeper]")}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("concurrency = ", "is not TOML"),
        ("[other]\n", "x.toml has no [leasekeeper] table"),
        (
            "[leasekeeper]\nconcurency = 1\n",
            "x.toml [leasekeeper]: 'concurency' is not an option; did you mean 'concurrency'?",
        ),
        ("[leasekeeper]\nlogger = 'x'\n", "x.toml [leasekeeper]: 'logger' can be given in code only"),
        ("[leasekeeper]\nregion = 5\n", "x.toml [leasekeeper]: region=5: must be text, in quotes"),
        ("[leasekeeper]\nqueues = 5\n", "[leasekeeper.queues]: give each queue a table"),
        ("[leasekeeper.queues.orders]\nfoo = 1\n", "x.toml [leasekeeper.queues.orders]: 'foo' is not an option"),
    ],
)
def test_a_file_that_cannot_be_says_what_is_wrong_with_it(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        settings.from_file(path, tmp_path)
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there_is_an_error_only_when_it_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read: No such file"):
        settings.from_file(tmp_path / "none.toml", tmp_path)


def test_an_error_of_options_is_told_with_the_sources_of_the_options_it_names() -> None:
    layer = {"pollers": Setting(100, "--pollers"), "wait_time": Setting(1, "LEASEKEEPER_WAIT_TIME")}
    blamed = settings.blamed(ConfigurationError("pollers=100 with concurrency=20: too many"), layer)
    assert str(blamed) == "pollers=100 with concurrency=20: too many (pollers is set by --pollers)"


def test_variables_that_look_like_an_option_are_noticed_and_others_left_alone() -> None:
    """Kubernetes gives a service named leasekeeper variables of this prefix."""
    environment = {
        "LEASEKEEPER_CONCURENCY": "5",
        "LEASEKEEPER_PORT_80_TCP": "tcp://10.0.0.1:80",
        "LEASEKEEPER_CONFIG": "x",
    }
    assert settings.misspelt(environment) == {"LEASEKEEPER_CONCURENCY": "LEASEKEEPER_CONCURRENCY"}


def test_the_line_that_run_logs_of_its_settings_has_no_password() -> None:
    layer = {"endpoint_url": Setting("http://user:secret@h:1", "--endpoint-url"), "pollers": Setting(None, "x.toml")}
    assert settings.described(layer) == "endpoint_url='http://***@h:1' (--endpoint-url), pollers=None (x.toml)"


def test_the_help_of_an_option_names_only_values_that_can_be_written_outside_the_code() -> None:
    http = next(each for each in settings.schema() if each.name == "http")
    assert (http.metavar, http.help) == (
        "native|aiohttp",
        "HTTP client: 'native', or 'aiohttp' (needs the extra of that name). [default: native]",
    )


def test_all_mistakes_of_all_places_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        "[leasekeeper]\nconcurency = 1\nregion = 5\npollers = 0\n[leasekeeper.queues.orders]\nwait_time = 'soon'\n"
    )
    variables = {"LEASEKEEPER_PREFETCH": "few", "LEASEKEEPER_ACK_INTERVAL": "-1"}
    with pytest.raises(ConfigurationError) as caught:
        RunSettings.read(path, variables, {"concurrency": "many", "on_reject": "drop"})
    table = "x.toml [leasekeeper]"
    assert str(caught.value).splitlines() == [
        f"{table}: 'concurency' is not an option; did you mean 'concurrency'?",
        f"{table}: region=5: must be text, in quotes",
        f"{table}: pollers=0: must be a whole number from 1 to 1000",
        f"{table[:-1]}.queues.orders]: wait_time='soon': must be a number from 0 to 20 seconds",
        "LEASEKEEPER_PREFETCH='few': must be a whole number from 0 to 120000",
        "LEASEKEEPER_ACK_INTERVAL='-1': must be a number from 0 to 60 seconds",
        "--concurrency='many': must be a whole number from 1 to 120000",
        "--on-reject='drop': must be 'dead-letter' or 'redrive'",
    ]


def test_a_file_of_an_editor_of_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf[leasekeeper]\r\nconcurrency = 7\r\n")
    assert RunSettings.read(path, {}).file == {"concurrency": Setting(7, "x.toml [leasekeeper]")}
