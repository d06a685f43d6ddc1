"""Answers to requests that are not in the JSON protocol: XML, which clients of the older Query protocol can read.

Owned by the connection. It promises the form of AWS's answers, and a sentence that says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from leasekeeper.local.model import OPERATIONS

if TYPE_CHECKING:
    from leasekeeper.local.http import HttpRequest

KIND = "text/xml"
_MOST_FORM = 65_536
_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"


def refuse(request: HttpRequest, request_id: str) -> tuple[int, bytes]:
    """The status and the XML for a request without an operation of the JSON protocol."""
    action = _action(request)
    if action is None:
        # AWS was recorded to answer 404 with this element. The message is ours.
        return 404, (
            b"<UnknownOperationException><Message>This is an SQS server for development. It accepts POST requests with "
            b"the header X-Amz-Target: AmazonSQS.OPERATION. Its page for a browser is /_leasekeeper/.</Message>"
            b"</UnknownOperationException>\n"
        )
    if action in OPERATIONS:
        code = "AWS.SimpleQueueService.UnsupportedOperation"
        message = (
            f"The request for {action} is in the Query protocol. This server supports only the JSON protocol of SQS: "
            "update the AWS SDK to a release of 2024 or later."
        )
    else:
        code = "InvalidAction"
        message = f"The action {action} is not valid for this endpoint."
    return 400, (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>\n"
    ).encode("utf-8", "replace")


def _action(request: HttpRequest) -> str | None:
    """The action of a Query request, in its URL or in its form; None when there is none."""
    for text in (request.path.partition(b"?")[2], request.body[:_MOST_FORM]):
        try:
            actions = parse_qs(text.decode("latin-1")).get("Action")
        except ValueError:
            continue
        if actions:
            return "".join(character for character in actions[0][:200] if character.isprintable())
    return None
