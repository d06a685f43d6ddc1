"""The inside of a worker process: it makes the handler, runs one message or batch at a time, and ends with the engine.

`leasekeeper.lanes.processes` is the other side. Nothing here runs in the process of the engine.
"""
