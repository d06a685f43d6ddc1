"""`python -m penstock`: the command line, as the console script runs it."""

from __future__ import annotations

from penstock.cli import main

if __name__ == "__main__":
    main()
