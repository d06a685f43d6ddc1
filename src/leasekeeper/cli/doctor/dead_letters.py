"""The checks of `leasekeeper doctor` on attempts, the redrive policy and dead letters.

Pure. A check promises one finding, or None when it does not apply.
"""

from __future__ import annotations

from leasekeeper.cli.doctor.facts import DAY, Facts, Finding, Level, duration
from leasekeeper.cli.redrive_policy import number
from leasekeeper.cli.words import counted, listed
from leasekeeper.core.attempts import MORE_RECEIVES

LONGEST_RETENTION = 14 * DAY
FEW_ON_FIFO = 10
"""The least receives on a FIFO queue: each stop and each crash counts one for every message that is held."""


def redrive(facts: Facts) -> Finding:
    """Whether there is a redrive policy, and whether its maxReceiveCount is sensible."""
    policy, topic, fifo = facts.policy, "redrive policy", facts.address.fifo
    if policy is None:
        if facts.sources:
            return Finding(Level.OK, topic, f"none, as it is itself the dead-letter queue of {listed(facts.sources)}")
        if _halts(facts):
            return Finding(Level.OK, topic, "none, as on_exhausted='halt' needs it")
        message = "none: a message that always fails comes back until its retention ends, and is then deleted"
        if fifo:
            message += "; until then its group stands still"
        return Finding(Level.WARN, topic, message, _create_policy(facts))
    most = policy.max_receives
    message = f"to {policy.name} after {counted(most, 'receive') if most is not None else 'some receives'}"
    commands = (facts.set_policy(policy.target, _receives(facts)),)
    if most == 1:
        message += ": one lost answer, or one release at a stop, moves a good message there"
        return Finding(Level.FAIL, topic, message, commands)
    if most is not None and fifo and most < FEW_ON_FIFO:
        message += (
            ": each stop and crash counts a receive of all messages that are held, also of those that only wait "
            f"behind others of their group; give {FEW_ON_FIFO} or more"
        )
        return Finding(Level.WARN, topic, message, commands)
    if most == 2:
        return Finding(Level.WARN, topic, f"{message}: lost answers and releases at a stop count too", commands)
    if most is not None and most > 100:
        return Finding(Level.WARN, topic, f"{message}: a message that always fails is tried for a long time", commands)
    return Finding(Level.OK, topic, message)


def _halts(facts: Facts) -> bool:
    return facts.address.fifo and facts.options is not None and facts.options.on_exhausted == "halt"


def _receives(facts: Facts) -> int:
    """The maxReceiveCount to suggest: more than the attempts, as stops and lost answers count too."""
    least = FEW_ON_FIFO if facts.address.fifo else 5
    return max(least, (_max_attempts(facts) or 0) + MORE_RECEIVES)


def _max_attempts(facts: Facts) -> int | None:
    return facts.options.max_attempts if facts.options is not None else None


def _create_policy(facts: Facts) -> tuple[str, ...]:
    fifo = facts.address.fifo
    dead = facts.address.name.removesuffix(".fifo") + "-dead" + (".fifo" if fifo else "")
    change = f"MessageRetentionPeriod={LONGEST_RETENTION}" + (",FifoQueue=true" if fifo else "")
    target = facts.arn.rpartition(":")[0] + ":" + dead
    return (
        facts.command("aws", "sqs", "create-queue", "--queue-name", dead, "--attributes", change),
        facts.set_policy(target, _receives(facts)),
    )


def attempts(facts: Facts) -> Finding | None:
    """Whether a message can have all its attempts before SQS moves it, and what follows the last one."""
    most, policy, topic = _max_attempts(facts), facts.policy, "attempts"
    if most is None or facts.options is None:
        return None
    if policy is None and facts.options.dead_letter_queue is None and not _halts(facts):
        message = f"max_attempts={most} without a dead-letter queue: then a message is tried on at the longest back-off"
        return Finding(Level.WARN, topic, message)
    receives = policy.max_receives if policy is not None else None
    if policy is None or receives is None or most < receives:
        return Finding(Level.OK, topic, f"max_attempts={most}")
    if facts.address.fifo and most == receives:
        return Finding(Level.OK, topic, f"max_attempts={most}, as many as the redrive policy allows")
    if facts.address.fifo:
        message = (
            f"max_attempts={most}, but on a FIFO queue a message has no more attempts than maxReceiveCount={receives}"
        )
        return Finding(Level.WARN, topic, message, (facts.set_policy(policy.target, _receives(facts)),))
    message = (
        f"max_attempts={most}, and after {counted(receives, 'receive')} SQS moves a message itself, without the "
        "reason: set maxReceiveCount higher than max_attempts, as stops and lost answers count too"
    )
    return Finding(Level.WARN, topic, message, (facts.set_policy(policy.target, _receives(facts)),))


def order_of_dead_letters(facts: Facts) -> Finding | None:
    """A dead letter leaves its place in a FIFO queue."""
    if not facts.address.fifo or facts.policy is None:
        return None
    message = (
        f"a dead letter in {facts.policy.name} breaks the order: what follows it in its group is processed without it, "
        "and a redrive puts it behind what came meanwhile. If that is wrong, use on_exhausted='halt' without a redrive "
        "policy: the group then waits"
    )
    return Finding(Level.WARN, "order", message)


def halted_groups(facts: Facts) -> Finding | None:
    """What ends a halt."""
    if not _halts(facts):
        return None
    if facts.policy is not None:
        message = "on_exhausted='halt' cannot be kept, as SQS moves the message itself: remove the redrive policy"
        return Finding(Level.FAIL, "halt", message, (facts.set_attribute("RedrivePolicy", ""),))
    seconds = facts.number("MessageRetentionPeriod")
    level = Level.OK if seconds >= LONGEST_RETENTION else Level.WARN
    message = f"a message that halts its group is deleted after {duration(seconds)}, when its retention ends"
    commands = (facts.set_attribute("MessageRetentionPeriod", LONGEST_RETENTION),) if level is Level.WARN else ()
    return Finding(level, "halt", message, commands)


def dead_letter_retention(facts: Facts) -> Finding | None:
    """Whether dead letters are kept longer than messages: on standard queues both count from the first send."""
    if facts.policy is None:
        return None
    name, topic = facts.policy.name, "dead letters"
    if facts.dead_letters is None:
        return Finding(Level.WARN, topic, f"{name} cannot be checked: {facts.dead_letters_problem}")
    there = number(facts.dead_letters.get("MessageRetentionPeriod")) or 0
    here = facts.number("MessageRetentionPeriod")
    message = f"{name} keeps messages for {duration(there)}, {facts.address.name} for {duration(here)}"
    url = facts.url.rpartition("/")[0] + "/" + name
    commands = (facts.set_attribute("MessageRetentionPeriod", LONGEST_RETENTION, url=url),)
    if there < here and not facts.address.fifo:
        message += ": a dead letter's time counts from its first send, so it may be deleted before anyone looks"
        return Finding(Level.FAIL, topic, message, commands)
    if there <= here and there < LONGEST_RETENTION:
        return Finding(Level.WARN, topic, f"{message}: give people more time to look", commands)
    return Finding(Level.OK, topic, message)


def shared_dead_letters(facts: Facts) -> Finding | None:
    """Whether other queues have the same dead-letter queue."""
    others = [name for name in facts.dead_letters_of if name != facts.address.name]
    if facts.policy is None or not others:
        return None
    message = (
        f"{facts.policy.name} is also the dead-letter queue of {listed(others)}: SQS does not know which queue a copy "
        "of a rejected message came from, so leasekeeper redrive has to send messages back one by one. A dead-letter "
        "queue for each queue avoids that"
    )
    return Finding(Level.WARN, "redrive", message)


def dead_letters_waiting(facts: Facts) -> Finding | None:
    """Whether there are dead letters to look at."""
    count = number((facts.dead_letters or {}).get("ApproximateNumberOfMessages")) or 0
    if not count or facts.policy is None:
        return None
    name = facts.policy.name
    commands = (
        facts.command("leasekeeper", "peek", name),
        facts.command("leasekeeper", "redrive", name),
    )
    message = f"{name} holds about {counted(count, 'message')}: look, fix the cause, move them back"
    return Finding(Level.WARN, "dead letters", message, commands)
