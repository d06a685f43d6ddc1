"""Build the sdist and the wheel into dist/, and check them as a user would meet them.

The wheel that is built from the sdist must hold the same files as the wheel built from this folder, and every file of
the package. The wheel is then installed into an empty environment, where the demo runs to its report.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
DEMO = ("demo", "--messages", "200", "--handler-ms", "5")
REPORT = "Stopped (every order is settled)"


def build(source: Path, target: str, directory: Path) -> Path:
    """Build the wheel or the sdist of a source folder; the file that came of it."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    done = subprocess.run(command, cwd=source, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the {target} of {source} cannot be built:\n{done.stdout}{done.stderr}")
    [built] = directory.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check_contents(wheel: Path, sdist: Path, directory: Path) -> None:
    """Compare the wheel with the one built from the sdist, and with the package in this folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    again = contents(build(directory / sdist.name.removesuffix(".tar.gz"), "wheel", directory / "again"))
    first = contents(wheel)
    if different := sorted(name for name in first.keys() | again.keys() if first.get(name) != again.get(name)):
        sys.exit(f"the wheel built from the sdist differs from the wheel built from this folder in {different}")
    package = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src/leasekeeper").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if missing := sorted(package - first.keys()):
        sys.exit(f"the wheel lacks {missing}")


def run_demo(wheel: Path, directory: Path) -> None:
    """Install the wheel into an empty environment and run the demo there, outside this folder."""
    venv.create(directory / "environment", with_pip=True)
    programs = directory / "environment/bin"
    install = [
        str(ROOT / ".ci/install.py"),
        "-c",
        str(ROOT / "constraints.txt"),
        f"leasekeeper[cli] @ {wheel.as_uri()}",
    ]
    subprocess.run([str(programs / "python"), *install], cwd=directory, check=True)
    done = subprocess.run(
        [str(programs / "leasekeeper"), *DEMO], cwd=directory, check=False, capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0 or REPORT not in done.stdout:
        sys.exit(f"the demo of the installed wheel ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Build and check; the last line says what is in dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    wheel, sdist = build(ROOT, "wheel", DIST), build(ROOT, "sdist", DIST)
    with tempfile.TemporaryDirectory(prefix="leasekeeper-dist-") as directory:
        check_contents(wheel, sdist, Path(directory))
        run_demo(wheel, Path(directory))
    print(f"dist/{wheel.name} and dist/{sdist.name}: same contents, and the demo runs from the installed wheel")


if __name__ == "__main__":
    main()
