"""Charge once: the same payment comes twice, in two messages, and the second one is deleted without a run.

Run it against the local server: `leasekeeper local`, then `python examples/idempotency.py`.
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
