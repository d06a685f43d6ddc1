"""Manifests for Kubernetes: a Deployment that KEDA scales, or jobs for work of hours.

Pure. They are written as text, with the reason beside each number that people would otherwise change.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from leasekeeper.cli.manifests.service import PORT, VARIABLE

if TYPE_CHECKING:
    from leasekeeper.cli.manifests.service import QueuePlan, Service

LAG = 60
"""Seconds by which the counts of SQS may be late."""


def kubernetes(service: Service, *, jobs: bool = False, seconds: int = 86_400) -> str:
    """The manifest of a service.

    Args:
        service: what to deploy.
        jobs: KEDA starts jobs that end when the queue is empty, in place of a Deployment.
        seconds: the longest time of a job.
    """
    parts = [_account(service), _authentication(service)]
    if jobs:
        parts.append(_scaled_job(service, seconds))
    else:
        parts += [_deployment(service), _service(service), _scaled_object(service)]
    head = (
        f"# Written by `leasekeeper manifest kubernetes {service.target}`. Write it again when options change: a stop\n"
        f"# takes up to {service.stop:g} s with them, and the grace period is that and a margin.\n"
    )
    return head + "---\n".join(parts)


def _account(service: Service) -> str:
    return f"""apiVersion: v1
kind: ServiceAccount
metadata:
  name: {service.name}
  # With IAM roles for service accounts, name the role here; `leasekeeper doctor --policy` prints its policy.
  # annotations:
  #   eks.amazonaws.com/role-arn: arn:aws:iam::ACCOUNT:role/{service.name}
"""


def _authentication(service: Service) -> str:
    return f"""apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {service.name}
spec:
  podIdentity:
    provider: aws # KEDA's own role, which needs sqs:GetQueueAttributes on the queues
"""


def _container(service: Service, *, indent: int, command: list[str], probes: bool) -> str:
    lines = [
        "- name: consumer",
        f"  image: {json.dumps(service.image)}",
        f"  command: {json.dumps(command)} # no shell: SIGTERM reaches the process itself",
        "  env:",
        f"    - name: {VARIABLE} # a start warns when a stop may take longer",
        f'      value: "{service.grace}"',
        "  resources:",
        "    requests: {cpu: 250m, memory: 256Mi}",
        "    limits: {memory: 512Mi} # no limit of the CPU: a consumer that is throttled loses leases",
        "  securityContext:",
        "    allowPrivilegeEscalation: false",
        "    readOnlyRootFilesystem: true",
        "    capabilities: {drop: [ALL]}",
    ]
    if probes:
        lines += [
            "  ports:",
            f"    - {{name: admin, containerPort: {PORT}}}",
            "  startupProbe:",
            "    httpGet: {path: /readyz, port: admin}",
            "    periodSeconds: 2",
            "    failureThreshold: 60 # two minutes for the start",
            "  readinessProbe:",
            "    httpGet: {path: /readyz, port: admin}",
            "  livenessProbe: # /livez, never /readyz: while SQS is slow, a restart would lose leases",
            "    httpGet: {path: /livez, port: admin}",
            "    periodSeconds: 20",
            "    timeoutSeconds: 8",
            "    failureThreshold: 6",
        ]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _pod(service: Service, *, indent: int) -> str:
    lines = [
        f"serviceAccountName: {service.name}",
        f"terminationGracePeriodSeconds: {service.grace} # the longest stop and a margin; a preStop hook counts too",
        "shareProcessNamespace: true # an init process, which collects the children that handlers leave",
        "securityContext:",
        "  runAsNonRoot: true",
        "  runAsUser: 10001",
        "  seccompProfile: {type: RuntimeDefault}",
    ]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _deployment(service: Service) -> str:
    command = ["leasekeeper", "run", service.target, "--admin", f"0.0.0.0:{PORT}", "--log-format", "json"]
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: {service.name}
  labels: {{app: {service.name}}}
spec:
  # No `replicas`: KEDA sets them, and each apply would set them back.
  selector:
    matchLabels: {{app: {service.name}}}
  strategy:
    rollingUpdate: {{maxSurge: 25%, maxUnavailable: 0}}
  template:
    metadata:
      labels: {{app: {service.name}}}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "{PORT}"
    spec:
{_pod(service, indent=6)}      containers:
{_container(service, indent=8, command=command, probes=True)}"""


def _service(service: Service) -> str:
    return f"""apiVersion: v1
kind: Service
metadata:
  name: {service.name}
spec:
  clusterIP: None # headless: each pod has its own answers, and processes find one another by it
  publishNotReadyAddresses: true # pods that drain are still looked at
  selector: {{app: {service.name}}}
  ports:
    - {{name: admin, port: {PORT}, targetPort: admin}}
"""


def _scaled_object(service: Service) -> str:
    return f"""apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {service.name}
spec:
  scaleTargetRef:
    name: {service.name}
  pollingInterval: 30
  cooldownPeriod: 300 # before the last process ends, where minReplicaCount is 0
  minReplicaCount: 1
  maxReplicaCount: {service.most}
  advanced:
    scalingModifiers:
      # Processes that are wanted: for messages in flight, at a utilisation of 0.8, and for those that wait, in time.
      # One queueLength for both would let the fleet shrink as soon as the backlog is gone, and grow again.
      formula: {json.dumps(service.formula)}
      target: "1"
    horizontalPodAutoscalerConfig:
      behavior:
        scaleUp:
          stabilizationWindowSeconds: 0
        scaleDown:
          stabilizationWindowSeconds: 300 # well above {LAG} s, by which the counts of SQS may be late
          policies:
            - {{type: Percent, value: 50, periodSeconds: 60}}
  triggers:
{"".join(_triggers(service))}"""


def _triggers(service: Service) -> list[str]:
    """Two for each queue: one counts what is visible, the other one also what is in flight."""
    return [
        _trigger(service, queue, name=f"{name}{place}", in_flight=name == "all")
        for place, queue in enumerate(service.queues)
        for name in ("visible", "all")
    ]


def _trigger(service: Service, queue: QueuePlan, *, name: str = "", in_flight: bool = True) -> str:
    named = f"\n      name: {name}" if name else ""
    return f"""    - type: aws-sqs-queue{named}
      authenticationRef: {{name: {service.name}}}
      metadata:
        queueURL: {json.dumps(queue.url)}
        awsRegion: {json.dumps(queue.region)}
        queueLength: "{queue.in_flight}"
        scaleOnInFlight: "{str(in_flight).lower()}"
"""


def _scaled_job(service: Service, seconds: int) -> str:
    command = ["leasekeeper", "run", service.target, "--exit-when-empty", "60", "--log-format", "json"]
    return f"""apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  name: {service.name}
spec:
  pollingInterval: 30
  maxReplicaCount: {service.most}
  successfulJobsHistoryLimit: 5
  failedJobsHistoryLimit: 5
  scalingStrategy:
    strategy: default # subtracts the jobs that run, as queueLength counts the messages that they work on
  jobTargetRef:
    backoffLimit: 0 # a job that failed is not repeated: its messages come again, and with them a job
    activeDeadlineSeconds: {seconds}
    template:
      spec:
{_pod(service, indent=8)}        restartPolicy: Never
        containers:
{_container(service, indent=10, command=command, probes=False)}  triggers: # a job for each queueLength messages
{"".join(_trigger(service, queue) for queue in service.queues)}"""
