"""The keeper: a process beside the consumer. It extends leases while the engine cannot, and settles them if it dies."""
