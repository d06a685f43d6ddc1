"""The private folder of a supervisor."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from leasekeeper.supervision.folder import LONGEST_PATH, Folder


def test_it_is_private_and_goes_away_with_everything_in_it(tmp_path: Path) -> None:
    folder = Folder.make(str(tmp_path)) if len(str(tmp_path)) < 50 else Folder.make()
    assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700
    Path(folder.socket(1)).touch()
    folder.write([{"number": 1}])
    folder.remove()
    assert not Path(folder.path).exists()


def test_a_directory_with_a_long_path_is_not_used(tmp_path: Path) -> None:
    """The path of a socket is short, by a limit of the kernel."""
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    folder = Folder.make(str(deep))
    assert len(folder.socket(1000)) < LONGEST_PATH
    folder.remove()


def test_what_is_written_is_read_and_nothing_is_known_before(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert folder.read() == []
    folder.write([{"number": 1, "state": "ready"}])
    assert Folder(str(tmp_path)).read() == [{"number": 1, "state": "ready"}]


def test_a_folder_that_somebody_has_removed_disturbs_nothing(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "gone"))
    folder.write([{"number": 1}])
    assert folder.read() == []
    folder.remove()


def test_a_folder_of_a_supervisor_that_was_killed_is_removed_by_the_next_one() -> None:
    with tempfile.TemporaryDirectory(prefix="lk") as path:  # a socket's path is short
        _check_what_is_left(Path(path))


def _check_what_is_left(tmp_path: Path) -> None:
    left, alive = Folder.make(str(tmp_path)), Folder.make(str(tmp_path))
    Path(left.socket(1)).touch()
    assert left.lock is not None
    os.close(left.lock)  # as the kernel does when the process ends
    (tmp_path / "leasekeeper-7-abcdefabcdef").mkdir()  # one without a lock is of something else
    (tmp_path / "leasekeeper-notes").mkdir()
    new = Folder.make(str(tmp_path))
    assert {each.name for each in tmp_path.iterdir()} == {
        Path(alive.path).name,
        Path(new.path).name,
        "leasekeeper-7-abcdefabcdef",
        "leasekeeper-notes",
    }
    for each in (alive, new):
        each.remove()
