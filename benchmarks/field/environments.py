"""A separate environment for each client of the field.

Environments are made below `benchmarks/.environments` when first needed, and again when their packages change.
`python benchmarks/field/environments.py` makes them all and prints their versions. It needs `npm` and a Python with
`venv`. The project's own clients run in the project's environment.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clients import CLIENTS, PROJECT

if TYPE_CHECKING:
    from clients import Client

ENVIRONMENTS = Path(__file__).resolve().parents[1] / ".environments"
PEERS = Path(__file__).resolve().parent / "peers"


def command(client: Client) -> list[str]:
    """The command that starts a client; this makes its environment if needed."""
    _make(client)
    return [str(_interpreter(client)), str(PEERS / client.file)]


def versions(client: Client) -> dict[str, str]:
    """Installed versions by name: of the client's named packages, and of the interpreter as `python` or `node`."""
    _make(client)
    names = [_name(package) for package in client.packages]
    if client.kind == "node":
        return _node_versions(client, names)
    script = (
        "import json, platform, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version(), **{name: version(name) for name in sys.argv[1:]}}))"
    )
    found: dict[str, str] = json.loads(_output([str(_interpreter(client)), "-c", script, *names]))
    return found


def _node_versions(client: Client, names: list[str]) -> dict[str, str]:
    modules = _directory(client) / "node_modules"
    return {name: json.loads((modules / name / "package.json").read_text())["version"] for name in names}


def _name(package: str) -> str:
    """`celery[sqs]==5.7.0` is `celery`."""
    return re.split(r"\[|==", package)[0]


def _directory(client: Client) -> Path:
    return ENVIRONMENTS / client.environment


def _interpreter(client: Client) -> Path:
    if client.environment == PROJECT:
        return Path(sys.executable)
    inside = "node_modules/.bin/node" if client.kind == "node" else "bin/python"
    return _directory(client) / inside


def _make(client: Client) -> None:
    """Make the client's environment, unless it exists with exactly these packages."""
    if client.environment == PROJECT:
        return
    directory = _directory(client)
    stamp, wanted = directory / "complete", "\n".join(client.packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (_install_node if client.kind == "node" else _install_python)(directory, client.packages)
    stamp.write_text(wanted)


def _install_python(directory: Path, packages: tuple[str, ...]) -> None:
    _output([sys.executable, "-m", "venv", str(directory)])
    pip = [str(directory / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _output([*pip, "install", *packages])


def _install_node(directory: Path, packages: tuple[str, ...]) -> None:
    (directory / "package.json").write_text('{"private": true}')
    npm = ["npm", "--prefix", str(directory), "--no-audit", "--no-fund", "--save-exact"]
    _output([*npm, "install", *(package.replace("==", "@") for package in packages)])


def _output(command: list[str]) -> str:
    """The output of a command; if it fails, the end of its error output is reported."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def main() -> None:
    for client in CLIENTS.values():
        listed = ", ".join(f"{name} {version}" for name, version in versions(client).items())
        print(f"{client.name:<20}{listed}", flush=True)


if __name__ == "__main__":
    main()
