"""`leasekeeper doctor --policy`: print the IAM policy that the consumers of a module, or of a queue, need.

Owned by the doctor. It reads attributes where it may; what it cannot read stands in the policy as a capital word.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.cli.doctor.iam import ACCOUNT, SEND, Needs, policy_for
from leasekeeper.cli.errors import say
from leasekeeper.cli.redrive_policy import RedrivePolicy
from leasekeeper.errors import ConfigurationError, CredentialsMissing, SqsError
from leasekeeper.exit_codes import Exit
from leasekeeper.options import Options
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.cli.connection import Connection
    from leasekeeper.outbox import Relay
    from leasekeeper.sending.senders import Senders


async def print_policy(
    consumers: Sequence[tuple[Connection, Options | None, Senders | None]], relays: Sequence[Relay] = ()
) -> Exit:
    """Print the policy of these consumers, with what their handlers send; unknown options count as default ones.

    Args:
        consumers: how to reach each, its options, and the senders of its handlers.
        relays: those of outboxes, which run in the same process.
    """
    needs = [await _needs(connection, options or Options(), senders) for connection, options, senders in consumers]
    stores = [relay.outbox.payloads for relay in relays if relay.outbox.payloads is not None]
    needs[0] = replace(needs[0], outboxes=stores)
    text = json.dumps(policy_for(needs), indent=2)
    print(text)
    if f":{ACCOUNT}:" in text:
        say("not every queue could be read: replace REGION and ACCOUNT, and add its keys of KMS if it has any")
    if relays:
        say(f"rows of an outbox name their queues: add {', '.join(SEND)} on those")
    return Exit.CLEAN


async def _needs(connection: Connection, options: Options, senders: Senders | None) -> Needs:
    settings = connection.settings()
    address = settings.queue
    assert address is not None
    attributes: dict[str, str] = {}
    dead: dict[str, str] | None = None
    try:
        async with await SqsClient.connect(settings) as client:
            url = address.url or await client.queue_url(address.name, account=address.account)
            attributes = await client.queue_attributes(url)
            policy = RedrivePolicy.read(attributes)
            target = options.dead_letter_queue or (policy.target if policy is not None else None)
            if target is not None:
                there = QueueAddress.parse(target)
                dead_url = there.url or await client.queue_url(there.name, account=there.account)
                dead = await client.queue_attributes(dead_url, ("KmsMasterKeyId",))
    except (SqsError, ConfigurationError, CredentialsMissing) as error:
        say(f"queue {address.name}: what cannot be read is not in the policy: {error}")
    return Needs(
        address=address,
        attributes=attributes,
        options=options,
        dead_letters=dead,
        region=connection.region,
        sends_to=() if senders is None else senders.queues,
        schedules=() if senders is None else senders.schedules,
    )
