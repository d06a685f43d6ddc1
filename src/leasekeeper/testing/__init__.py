"""Testing what consumes queues: virtual time, SQS with faults in process, handlers called without a queue.

Shipped for users as much as for our own tests; nothing outside tests imports it. Import from the modules: `world`
and `trial` for virtual time, `handling` for handlers alone, `clock` for the loop itself; pytest reads `plugin`.
"""
