"""`.ci/install.py`: what pip is told by its user, uv is told too; where uv cannot be told, pip installs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parent.parent / ".ci/install.py"


@pytest.fixture
def install() -> Any:
    """The module, which no import statement can name."""
    found = importlib.util.spec_from_file_location("install", FILE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_settings_of_pip_are_read_from_its_files_and_its_environment(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://one.example/simple\ntimeout = 5\n[install]\ntimeout = 7\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "one.example")
    found = install.pip_settings()
    assert (found["index-url"], found["timeout"], found["trusted-host"]) == (
        "https://one.example/simple",
        "7",
        "one.example",
    )


def test_uv_is_told_the_same(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "SSL_CERT_FILE", "UV_INDEX_STRATEGY"):
        monkeypatch.delenv(name, raising=False)
    settings = {"index-url": "https://one.example/simple", "extra-index-url": "https://two.example/simple"}
    environment = install.uv_environment({**settings, "find-links": "/a /b", "cert": "/ca.pem", "quiet": "1"})
    assert environment["UV_DEFAULT_INDEX"] == "https://one.example/simple"
    assert environment["UV_INDEX"] == "https://two.example/simple"
    assert environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environment["UV_FIND_LINKS"] == "/a,/b"
    assert environment["SSL_CERT_FILE"] == "/ca.pem"


def test_what_the_user_sets_for_uv_wins(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example/simple")
    environment = install.uv_environment({"index-url": "https://one.example/simple"})
    assert environment["UV_DEFAULT_INDEX"] == "https://mine.example/simple"


def test_a_setting_that_uv_has_no_word_for_leaves_the_work_to_pip(install: Any) -> None:
    assert install.uv_environment({"client-cert": "/mine.pem"}) is None


def test_a_plus_begins_another_installation(install: Any) -> None:
    assert install.installations(["-e", ".", "+", "--no-deps", "x"]) == [["-e", "."], ["--no-deps", "x"]]
