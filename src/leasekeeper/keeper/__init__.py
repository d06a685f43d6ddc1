"""The keeper: a process beside the consumer. It extends leases while the engine cannot, and settles them if it dies."""

VARIABLE = "LEASEKEEPER_KEEPER_SOCKET"
"""Names the socket of a supervisor that is the keeper of its child processes, and the supervisor: `7:1234`."""
