"""The command line: `leasekeeper run`, `send`, `doctor` and the other commands of `program.py`.

Owned by the console script. It promises an exit code that says what happened (`leasekeeper.exit_codes`) and, without
the `cli` extra, one sentence about what to install.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from leasekeeper.cli import start_time  # noqa: F401 - its clock starts here
from leasekeeper.exit_codes import Exit


def main() -> NoReturn:
    """Run the command line of this process, and end it with the exit code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the shell has closed it: `>&-`
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - for the whole process
    code = _run()
    from leasekeeper.cli.ending import end

    end(code)


def _run() -> int:
    # Ctrl-C during our imports, most of which come below, ends this process without a traceback.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from leasekeeper.supervision.protocol import VARIABLE

    if (supervised := os.environ.get(VARIABLE)) is not None:
        from leasekeeper.supervision.parent import born_of_supervisor

        born_of_supervisor(supervised)
    from leasekeeper.cli.light import answer
    from leasekeeper.supervision.plan import plan_of

    code = answer(sys.argv[1:], os.environ)
    if code is not None:
        return code
    plan = plan_of(sys.argv[1:], os.environ)
    if plan is not None:
        from leasekeeper.supervision.start import supervise

        return supervise(plan, os.environ)
    import importlib.util

    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        from leasekeeper.extras import needs

        print(f"leasekeeper: {needs('the command line', ' and '.join(missing), 'cli')}", file=sys.stderr)
        return Exit.USAGE
    from leasekeeper.cli.program import execute

    signal.signal(signal.SIGINT, before)
    return execute()
