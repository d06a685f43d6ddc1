"""Messages that other services send: three queues behind SNS, EventBridge and S3.

cd examples
leasekeeper local --queue orders --queue audit --queue uploads &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run envelopes:app &
leasekeeper send audit '{"id":"1","source":"shop","detail-type":"New","time":"2026-11-01T12:00:00Z","detail":{"id":7}}'
"""

from dataclasses import dataclass

from leasekeeper import Leasekeeper, Message
from leasekeeper.envelopes import EventBridgeEvent, S3Record

app = Leasekeeper()


@dataclass
class Order:
    id: int


@app.consumer("orders", envelope="sns")
async def ship(message: Message[Order]) -> None:
    """The option opens the notification: the body is what was published."""
    notification = message.envelopes[0]
    tenant = message.attributes["tenant"].string_value  # of the notification
    print(f"shipped {message.body.id} for {tenant} ({notification.subject})", flush=True)


@app.consumer("audit")
async def audit(event: EventBridgeEvent[Order]) -> None:
    """The annotation asks for the envelope itself, with its detail decoded."""
    print(f"{event.detail_type} {event.detail.id} of {event.source}", flush=True)


@app.consumer("uploads", envelope="auto")
def index(record: S3Record) -> None:
    """Called once for each object, whether S3 sent the event itself, through SNS or through EventBridge."""
    print(f"{record.event_name} s3://{record.bucket}/{record.key}", flush=True)
