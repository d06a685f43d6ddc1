"""The supervisor: runs consumers as child processes, and looks after them.

Owned by `leasekeeper run`. It imports little more than the standard library, because it lives as long as the service
and has nothing to do most of the time. It promises that a signal stops all of them in bounded time, that a process that
dies is replaced, and that none outlives it.
"""
