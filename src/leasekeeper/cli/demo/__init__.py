"""`leasekeeper demo`: a consumer at work in one command, on a local SQS, without an AWS account.

`command` runs it, `world` holds server and producer, `shop` the handler, `view` draws it, `summary` reports at the end.
"""
