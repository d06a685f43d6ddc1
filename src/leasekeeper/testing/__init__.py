"""Tools to test code that consumes queues: virtual time, an in-process SQS with faults, handlers without a queue.

They are for users as much as for our own tests, and only tests import them. Import from the modules: `world` has SQS
and consumers in virtual time, `handling` runs handlers alone, `clock` has the event loop, and pytest loads `plugin`.
"""
