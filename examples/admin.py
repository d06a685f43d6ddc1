"""A consumer with an admin surface: health for probes, statistics as JSON, metrics for Prometheus.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python admin.py &        # needs the extra `admin`
curl http://127.0.0.1:9900/readyz
"""

import logging
import os

from leasekeeper import Leasekeeper
from leasekeeper.admin import AdminServer

app = Leasekeeper()


@app.consumer("orders", concurrency=10)
async def ship(body: str) -> None:
    print(f"shipping {body}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    # Around the run: probes see the start and the drain, too. `leasekeeper run admin:app --admin 9900` does the same.
    with AdminServer(app, address=os.environ.get("ADMIN", "127.0.0.1:9900")) as server:
        print(f"look at {server.url}/statusz", flush=True)
        for report in app.run():
            print(report)
