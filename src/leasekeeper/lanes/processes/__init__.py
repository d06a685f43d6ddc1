"""The processes lane: handlers in worker processes, one pipe to each, nothing shared between them.

`leasekeeper.worker_process` is the other side. A death costs the running message of that worker only.
"""
