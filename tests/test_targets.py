"""The targets that run the tests: together they run all of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_line_of_the_list_of_long_tests_names_a_test() -> None:
    """A test that was renamed would otherwise be back in `make test`."""
    listed = [line for line in (ROOT / "tests/long.txt").read_text().splitlines() if not line.startswith("#")]
    unknown = [line for line in listed if not _is_there(line.partition("[")[0])]
    assert not unknown, f"tests/long.txt lists what is not there: {unknown}"
    assert listed == sorted(set(listed))


def _is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    text = (ROOT / file).read_text() if (ROOT / file).exists() else ""
    if name.endswith("::runTest"):  # a state machine of hypothesis: `TestName = Machine.TestCase`, or a class of it
        return re.search(rf"^(class )?{name.removesuffix('::runTest')}( = |\()", text, re.MULTILINE) is not None
    return f"def {name.rpartition('::')[2]}(" in text


def test_ci_runs_every_test() -> None:
    """The short and the long ones, in one run each."""
    run = (ROOT / ".ci/run").read_text()
    assert re.search("^make test$", run, re.MULTILINE)
    assert re.search("^make long$", run, re.MULTILINE)
    targets = dict(re.findall(r"^(\w+):.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets["test"].endswith('pytest $(PARALLEL) -m "not long"')
    assert targets["long"].endswith("pytest $(PARALLEL) -m long")
