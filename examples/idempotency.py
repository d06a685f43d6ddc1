"""Charge once: the same payment comes twice, in two messages, and the second one is deleted without a run.

cd examples
leasekeeper local --queue payments &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python idempotency.py &
leasekeeper send payments '{"payment_id": 7, "amount": 5}' --count 2
"""

from leasekeeper import Leasekeeper
from leasekeeper.idempotency import Idempotency, MemoryStore

app = Leasekeeper()
# In production a store that all processes share: RedisStore.from_url("redis://...")
once = Idempotency(MemoryStore(), key="payment_id", fingerprint="amount")


@app.consumer("payments", idempotency=once)
async def charge(payment: dict[str, int]) -> None:
    print(f"charge {payment['amount']} for payment {payment['payment_id']}", flush=True)


if __name__ == "__main__":
    app.run()
