"""Modules of the user's that have the name of another one: what is said of them."""

from __future__ import annotations

import importlib
import sys
import wave
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Leasekeeper
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


def failure(directory: Path, capsys: pytest.CaptureFixture[str], **modules: str) -> str:
    """The last line that is said when a module `shop` fails, beside other modules."""
    for name, code in modules.items():
        sys.modules.pop(name, None)
        (directory / f"{name}.py").write_text(code)
    with pytest.raises(Stopped):
        load("shop:app")
    return capsys.readouterr().err.splitlines()[-1]


def test_a_module_with_the_name_of_another_one_that_fails_for_itself_hides_nothing(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hides" not in failure(directory, capsys, shop="import wave", wave="1 / 0")
    sys.modules.pop("wave", None)
    (directory / "wave.py").write_text("raise OSError('no database')")
    with pytest.raises(Stopped):
        load("wave:app")
    assert "hides" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shop", "wave"),
    [("import wave\nwave.open_it()", ""), ("import sunau_user", "1 / 0"), ("import sunau_user", "")],
    ids=["lacks what is wanted", "fails when others import it", "lacks what others want"],
)
def test_a_module_that_is_taken_for_another_one_hides_it(
    shop: str, wave: str, directory: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("installed")
    (elsewhere / "sunau_user.py").write_text("import wave\nwave.open\n")
    sys.path.append(str(elsewhere))
    try:
        said = failure(directory, capsys, shop=shop, wave=wave)
    finally:
        sys.path.remove(str(elsewhere))
    assert said.endswith(f"; wave.py in {directory} hides Python's own module wave: rename it")


def test_a_typo_is_told_of_a_module_that_was_meant(directory: Path) -> None:
    (directory / "shadowed.py").write_text("")
    found = sys.modules["shadowed"] = ModuleType("shadowed")
    found.__dict__["app"] = Leasekeeper()
    with pytest.raises(ConfigurationError, match="shadowed has no 'ap'; it has shadowed:app"):
        load("shadowed:ap")


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
