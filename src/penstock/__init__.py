"""Penstock turns a function into an Amazon SQS service: you write the handler, Penstock keeps the lease."""

__version__ = "0.1.0"
