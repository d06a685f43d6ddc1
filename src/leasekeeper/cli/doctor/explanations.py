"""What each check of `leasekeeper doctor` is about: why it matters, and where to read more.

Shown by `--explain` under a finding, and only there. By the finding's topic.
"""

from __future__ import annotations

EXPLANATIONS = {
    "connection": (
        "Region, endpoint and credentials are looked for where boto3 looks: the environment, the profile, the "
        "metadata of the instance or the container. Options win over these."
    ),
    "credentials": ("Every call to SQS is signed. Credentials of a role are fetched again before they expire."),
    "endpoint": (
        "The address that calls go to. AWS_ENDPOINT_URL_SQS and endpoint_url change it, e.g. to a local server."
    ),
    "queue": (
        "A consumer that is given a name asks SQS for the URL at each start (sqs:GetQueueUrl); a URL saves the call."
    ),
    "permissions": (
        "A consumer receives, deletes and changes visibility; it reads attributes at the start, and sends to the "
        "dead-letter queue. What is denied is tried with requests that SQS must refuse, so nothing happens. "
        "`leasekeeper doctor MODULE:NAME --policy` prints the least policy. See docs/how-to/iam.md."
    ),
    "sending": (
        "A parameter Annotated[Sender, QUEUE] makes handlers send to that queue. An app does not start if the queue is "
        "missing, and a message is not deleted before what its handler sent is confirmed. See docs/how-to/send.md."
    ),
    "payloads": (
        "An object in S3 is deleted when the delete of its message is confirmed in time, and stays otherwise. A "
        "lifecycle rule of the bucket deletes what is left. See docs/how-to/payloads.md."
    ),
    "idempotency": (
        "While its store cannot be asked, no handler runs. Messages that are here go back, and SQS has counted their "
        "receive; a consumer receives nothing more until the store answers, a Lambda function does. A table "
        "that is missing would move good messages to the dead-letter queue. See docs/how-to/idempotency.md."
    ),
    "outbox": (
        "A relay sends the rows of a table after their transaction has committed. An app whose relay has no table "
        "does not start. See docs/how-to/outbox.md."
    ),
    "kind": (
        "The kind of a queue is fixed when it is created. A FIFO queue hands out the messages of a group one after "
        "another; a standard queue promises no order, and delivers at least once. See docs/how-to/fifo.md."
    ),
    "visibility": (
        "SQS hides a received message for this long. A consumer that takes longer and does not extend it has its "
        "message run twice. Leasekeeper asks for its own time and extends it, so the queue's value matters to "
        "other consumers alone."
    ),
    "polling": (
        "A receive whose answer is lost has hidden messages of a group. It can be repeated under its attempt id, "
        "which must happen before its leases end."
    ),
    "retention": (
        "Messages that are older are deleted, whether they were handled or not. An outage that lasts longer than "
        "this loses messages."
    ),
    "long polling": (
        "A receive that waits costs no more than one that does not, and finds messages on all of SQS's servers. "
        "Without a wait, empty receives are most of the bill."
    ),
    "encryption": ("With keys of KMS, each message costs calls to KMS unless data keys are reused."),
    "messages": (
        "SQS keeps at most 120,000 messages of a queue in flight, and hands out none above that. Many in flight "
        "and few running are messages that a consumer has lost: they come back when their visibility timeout ends."
    ),
    "dead letters": (
        "Without a dead-letter queue a message that always fails is tried until it is too old, and then deleted. A "
        "copy by Leasekeeper has the reason, which SQS's own move has not. See docs/how-to/failures.md."
    ),
    "redrive": (
        "Messages of a dead-letter queue that serves several queues do not say where they came from, unless "
        "Leasekeeper has copied them. See docs/how-to/redrive.md."
    ),
    "attempts": (
        "SQS counts receives, also those that ran nothing: lost answers, releases at a stop. `max_attempts` counts "
        "runs. The redrive policy should allow a few more."
    ),
    "order": ("A message of a FIFO queue that goes to the dead-letter queue lets the ones behind it pass."),
    "halt": ("on_exhausted='halt' keeps a group waiting for its first message. A redrive policy would move it away."),
    "subscription": (
        "SNS may send only what the queue's policy allows. Without a condition on the topic, any topic of any "
        "account may."
    ),
    "stop": (
        "A stop drains: handlers finish, deletes are confirmed. A runtime that kills the process before leaves "
        "messages hidden until their leases end. See docs/how-to/deploy.md."
    ),
}


def explanation(topic: str) -> str:
    """What a topic is about; empty for one without a text."""
    return EXPLANATIONS.get(topic, "")
