"""Run tests on the oldest versions of our dependencies that pyproject.toml allows: `make lowest`.

They are installed into an environment inside `.venv`, made anew each time, next to the tools that the tests need. The
arguments are those of pytest. Tests that take long do not run. Without arguments, all others do but those that need a
server or a tool that others wrote, and those that count what a message costs, which newer versions may change.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENVIRONMENT = Path(sys.prefix) / "lowest"
PYTHON = str(ENVIRONMENT / "bin/python")
TOOLS = ("boto3", "hypothesis", "pytest", "pyyaml", "trustme")
FOLLOWS_BOTOCORE = {"boto3", "s3transfer"}
LEFT_OUT = ("tests/conformance", "tests/costs", "tests/acceptance/test_aws_cli.py", "tests/asyncapi", "tests/contrib")
NEWER = "tests/cli/test_light.py"
"""What typer itself imports differs from version to version."""


def install(*arguments: str) -> None:
    """Install with uv, the only one that can be asked for the oldest versions."""
    subprocess.run([PYTHON, str(ROOT / ".ci/install.py"), *arguments], cwd=ROOT, check=True)


def name_of(requirement: str) -> str:
    """The package that a line such as `botocore==1.38.0` names."""
    return requirement.partition("==")[0].lower().replace("_", "-")


def main() -> int:
    """Install and run; the exit code of pytest."""
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    install("--resolution", "lowest-direct", "-e", ".[cli,aiohttp,pydantic,sns,admin,otel,redis,postgres,reload]")
    freeze = [PYTHON, "-m", "pip", "freeze", "--exclude-editable"]
    oldest = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.split()
    fixed = {name_of(line) for line in oldest} | FOLLOWS_BOTOCORE
    tested = (ROOT / "constraints.txt").read_text().splitlines()
    constraints = ENVIRONMENT / "constraints.txt"
    constraints.write_text("\n".join([*oldest, *(line for line in tested if name_of(line) not in fixed)]))
    install("-c", str(constraints), *TOOLS)
    print("\n".join(oldest))
    chosen = [*(sys.argv[1:] or ["tests", *(f"--ignore={path}" for path in LEFT_OUT)]), f"--ignore={NEWER}"]
    return subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "--side-by-side", "-m", "not long", *chosen], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
