"""Modules of the user's that have the name of another one: what is said of them."""

from __future__ import annotations

import importlib
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leasekeeper.cli import program
from leasekeeper.cli.errors import Stopped
from leasekeeper.cli.targets import load
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The working directory, first on the path as in a run; what is imported from it is forgotten."""
    before = dict(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize("name", ["queue", "leasekeeper"])
def test_a_target_with_the_name_of_a_module_that_is_imported_already(name: str, directory: Path) -> None:
    (directory / f"{name}.py").write_text("app = 5\n")
    kind = "Python's own module" if name == "queue" else "the installed module"
    with pytest.raises(ConfigurationError) as refused:
        load(f"{name}:app")
    file = sys.modules[name].__file__
    assert str(refused.value) == (
        f"'{name}:app': {name} is {kind} in {file}, and not {name}.py in {directory}: rename yours"
    )


def test_a_module_in_the_working_directory_that_hides_what_another_one_needs(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Path(str(wave.__file__)).parent != directory
    del sys.modules["wave"]
    (directory / "wave.py").write_text("")
    (directory / "sounds.py").write_text("from wave import open_nothing\n")
    with pytest.raises(Stopped):
        load("sounds:app")
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(f"; wave.py in {directory} hides Python's own module wave: rename it")
    )


def test_a_module_that_fails_for_itself_hides_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "sounds.py").write_text("from wave import open_nothing\n")
    with pytest.raises(Stopped):
        load("sounds:app")
    assert "hides" not in capsys.readouterr().err


def test_a_library_that_is_hidden_from_us_is_told_in_one_line(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "botocore.py").write_text("")
    for name in [each for each in sys.modules if each.partition(".")[0] == "botocore"]:
        del sys.modules[name]

    def command(**_: object) -> None:
        importlib.import_module("botocore.session")

    monkeypatch.setattr(program, "program", command)
    assert program.execute() == 2
    assert capsys.readouterr().err == (
        "leasekeeper: No module named 'botocore.session'; 'botocore' is not a package: botocore.py in "
        f"{directory} hides the installed module botocore: rename it\n"
    )
