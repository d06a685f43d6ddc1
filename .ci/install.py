"""Install packages into the environment of the Python that runs this file: with uv, in seconds, or else with pip.

The arguments are those of `pip install`; a `+` among them begins another installation. pip itself brings uv, so a
package index, a proxy or a certificate that pip is configured for is asked for uv too, and uv is then told the same.
pip does the whole work where pip has a setting that uv has no word for, where there is no uv for the platform, and
where uv fails for any reason.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = str(Path(__file__).parent.with_name("constraints.txt"))
BASE = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
HAS_PIP = importlib.util.find_spec("pip") is not None
"""Whether this environment has pip; else the pip of the Python that it was made with works for it."""
PIP = [
    *([sys.executable, "-m", "pip"] if HAS_PIP else [BASE, "-m", "pip", "--python", sys.executable]),
    "--disable-pip-version-check",
]
UV = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]

SAME = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "find-links": ("UV_FIND_LINKS",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "constraint": ("UV_CONSTRAINT",),
    "cert": ("SSL_CERT_FILE",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "timeout": ("UV_HTTP_TIMEOUT",),
}
"""What uv calls a setting of pip."""

HARMLESS = {
    "disable-pip-version-check",
    "no-color",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "retries",
    "verbose",
}
"""Settings of pip that make no difference to what is installed."""


def pip_settings() -> dict[str, str]:
    """What pip is configured with: its environment wins over section `install` of its files, that one over `global`."""
    printed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):
        for line in printed.splitlines():
            if line.startswith(section):
                name, _, value = line.removeprefix(section).partition("=")
                found[name] = str(ast.literal_eval(value))
    return found


def uv_environment(settings: dict[str, str]) -> dict[str, str] | None:
    """The variables that tell uv the same; None where it cannot be told."""
    if not settings.keys() <= SAME.keys() | HARMLESS:
        return None
    if "find-links" in settings:  # pip separates them by spaces
        settings = {**settings, "find-links": ",".join(settings["find-links"].split())}
    told = {name: value for key, value in settings.items() for name in SAME.get(key, ())}
    # pip takes the best version of all indexes; uv would take the first index that has the package.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **told, **os.environ}


def brought_uv() -> dict[str, str] | None:
    """Install uv; the variables for it. None where pip does the work."""
    environment = uv_environment(pip_settings())
    if environment is None:
        return None
    brought = subprocess.run([*PIP, "install", "--quiet", "-c", CONSTRAINTS, "uv"], capture_output=True, check=False)
    return environment if brought.returncode == 0 else None


def installations(arguments: list[str]) -> list[list[str]]:
    """The arguments of each installation."""
    found: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "+":
            found.append([])
        else:
            found[-1].append(argument)
    return found


def main() -> int:
    """Install; the exit code of pip where it had to."""
    environment = brought_uv()
    for arguments in installations(sys.argv[1:]):
        if environment and subprocess.run([*UV, *arguments], env=environment, check=False).returncode == 0:
            continue
        if code := subprocess.run([*PIP, "install", "--quiet", *arguments], check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
