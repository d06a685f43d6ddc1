"""What supervisor and child say to each other: one byte to the child, lines of JSON to the supervisor.

Used by both ends of the connection. It promises to import nothing.
"""

VARIABLE = "LEASEKEEPER_SUPERVISOR"
"""Environment variable of a child: the descriptor of its connection, its number, how many processes there are, and
whether they have a local SQS."""
STOP, FORCE = b"s", b"f"
"""Stop; cut the drain short."""
