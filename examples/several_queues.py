"""Several queues in one process: handlers that are shared, a rate, tenants that take turns, and a pause.

Reports are made while no urgent message waits. The model behind `prompts` takes five questions a second, and no tenant
has more than two answers at work. When the model is overloaded, its queue is not received from until it recovers.

cd examples
leasekeeper local --queue urgent --queue reports --queue prompts &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run several_queues:app &
leasekeeper send prompts "why is the sky blue?" --group-id ann
"""

import asyncio

from leasekeeper import Consumer, Leasekeeper, Message, Retry, Share

app = Leasekeeper()
handlers = Share(concurrency=10)


class Overloaded(Exception):
    """The model asks for a pause."""


async def ask_model(question: str, attempt: int) -> str:
    if "everything" in question and attempt == 1:
        raise Overloaded
    await asyncio.sleep(0.01)
    return "42"


@app.consumer("urgent", share=handlers, priority=1)
async def urgent(body: str) -> None:
    print(f"urgent: {body}", flush=True)


@app.consumer("reports", share=handlers, priority=2)
def report(body: str) -> None:
    print(f"report: {body}", flush=True)


@app.consumer("prompts", rate=5, burst=5, group_concurrency=2)
async def answer(message: Message[str]) -> None:
    try:
        text = await ask_model(message.body, message.attempt)
    except Overloaded:
        pause(consumer_of("prompts"), 0.5)
        raise Retry(after=1) from None  # the receive count grows only for this one message
    print(f"{message.group_id}: {text}", flush=True)


def pause(consumer: Consumer, seconds: float) -> None:
    consumer.pause()
    asyncio.get_running_loop().call_later(seconds, consumer.resume)
    print("prompts: paused", flush=True)


def consumer_of(queue: str) -> Consumer:
    return next(consumer for consumer in app.consumers if consumer.address.name == queue)
