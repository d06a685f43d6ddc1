"""What supervisor and child say to each other: one byte to the child, lines of JSON to the supervisor.

Used by both ends of the connection. It promises to import nothing but `signal`.
"""

import signal

VARIABLE = "LEASEKEEPER_SUPERVISED"
"""Environment variable of a child: the descriptor of its connection, its number, how many processes there are, and
whether they have a local SQS."""
LISTENER = "LEASEKEEPER_LISTENER"
"""Environment variable of a local SQS beside consumers: the descriptor of the socket that it serves."""
STOP, INTERRUPT, FORCE = b"s", b"i", b"f"
"""Stop; stop after a Ctrl-C; cut the drain short."""
OF_TERMINALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))
"""Signals that a terminal sends to the processes that it started and to theirs. Windows has one of them."""
