"""Large payloads in S3: pointers in place of bodies, in the formats of the extended clients of AWS.

Give `S3Payloads` as the option `payloads` of a consumer, or to a `Sender`.
"""

from leasekeeper.payload import Payload, PayloadGone, PayloadsDown, PayloadUnavailable
from leasekeeper.payloads.settings import S3Payloads

__all__ = ["Payload", "PayloadGone", "PayloadUnavailable", "PayloadsDown", "S3Payloads"]
