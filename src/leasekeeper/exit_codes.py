"""The exit codes of every command, in one table.

Used by the command line, by the supervisor of `leasekeeper run`, and by the guard of a run in the foreground.
`docs/reference/cli.md` says the same.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    CLEAN = 0
    """The command did its work; `run` settled every message."""
    FAILED = 1
    """An error ended it, the answer is no, or a part of the work is left: `run` left messages unsettled, `send` had \
some refused, `doctor` found a failure, `health` found a process unhealthy or none."""
    USAGE = 2
    """Wrong usage or configuration, which can be seen without asking anything outside: nothing was done."""
    UNUSABLE = 3
    """Something that is needed outside does not exist, cannot be reached, or refuses: a queue, a bucket, a table, \
credentials, an address to listen on, a process to ask."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM ended it before its work was done; of `run`: a second one, which cut the drain short."""
