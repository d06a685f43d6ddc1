"""`leasekeeper demo`: the main job in one command, on an SQS of its own, with no AWS.

`command` plays it, `world` holds queue, producer and handler, `view` draws it while it runs, `summary` at the end.
"""
