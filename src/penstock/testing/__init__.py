"""Testing what consumes queues: virtual time, SQS with faults in process, handlers called without a queue.

Shipped for users as much as for our own tests; nothing outside tests imports it. Import from the modules:
`penstock.testing.world`, `penstock.testing.handling`, `penstock.testing.clock`; pytest reads `penstock.testing.plugin`.
"""
