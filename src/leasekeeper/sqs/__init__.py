"""The wire: SQS over HTTP, in our types."""
