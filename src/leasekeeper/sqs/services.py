"""The services of AWS that we call: all but S3 and the scheduler speak one JSON protocol, with other names in it."""

from __future__ import annotations

from typing import NamedTuple


class Service(NamedTuple):
    """A service, by the names that it has in several places."""

    name: str
    """What botocore calls its client."""
    label: str
    """What people call it."""
    signing_name: str
    """In the scope of a signature."""
    target: str
    """Before the operation in the header `X-Amz-Target`."""
    listing: str
    """A method of botocore's client without arguments, with which it is asked where it sends calls."""
    variable: str
    """The environment variable of its endpoint."""
    empty: bytes = b"{}"
    """An answer that botocore takes for an empty one."""


SQS = Service("sqs", "SQS", "sqs", "AmazonSQS", "list_queues", "AWS_ENDPOINT_URL_SQS")
DYNAMODB = Service("dynamodb", "DynamoDB", "dynamodb", "DynamoDB_20120810", "list_tables", "AWS_ENDPOINT_URL_DYNAMODB")
STEP_FUNCTIONS = Service(
    "stepfunctions", "Step Functions", "states", "AWSStepFunctions", "list_activities", "AWS_ENDPOINT_URL_SFN"
)
SCHEDULER = Service(
    "scheduler", "EventBridge Scheduler", "scheduler", "", "list_schedules", "AWS_ENDPOINT_URL_SCHEDULER"
)
S3 = Service("s3", "S3", "s3", "", "list_buckets", "AWS_ENDPOINT_URL_S3", b"<a/>")
