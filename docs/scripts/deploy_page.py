"""Write the manifests in `deploy/` from the example shop: `python docs/scripts/deploy_page.py`.

A test keeps them up to date.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from leasekeeper.cli.manifests.ecs import ecs
from leasekeeper.cli.manifests.kubernetes import kubernetes
from leasekeeper.cli.manifests.service import service_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy"


def files() -> dict[str, str]:
    """The text of each file by its name."""
    consumers = runpy.run_path(str(ROOT / "examples" / "shop.py"))["app"].consumers
    service = service_of(
        "shop:app", consumers, name=None, image="shop:latest", most=20, handler_seconds=0.2, latency=60.0
    )
    found = {"kubernetes.yaml": kubernetes(service), "kubernetes-jobs.yaml": kubernetes(service, jobs=True)}
    return found | {f"ecs-{part}.json": json.dumps(value, indent=2) + "\n" for part, value in ecs(service).items()}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
