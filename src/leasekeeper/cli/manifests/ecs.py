"""Manifests for Amazon ECS: the input of four commands of the AWS CLI, as JSON.

Pure. `stopTimeout` is the longest stop and a margin, as far as Fargate allows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.cli.manifests.service import ACCOUNT, PORT, VARIABLE

if TYPE_CHECKING:
    from leasekeeper.cli.manifests.service import QueuePlan, Service

FARGATE_LIMIT = 120
"""The longest `stopTimeout` of Fargate, in seconds."""
CLUSTER = "default"
"""The cluster's name, to be replaced."""


def too_long(service: Service) -> str:
    """The sentence for a stop that Fargate cuts off; empty where it does not."""
    if service.grace <= FARGATE_LIMIT:
        return ""
    protected = "" if service.protected else ", and set ecs_protection=True, so that busy tasks are not scaled in"
    return (
        f"a stop may take {service.stop:g} s, but Fargate kills a task after {FARGATE_LIMIT} s: lower drain_timeout by "
        f"{service.grace - FARGATE_LIMIT} s (messages of handlers that are cut off are released, and run again)"
        + protected
    )


def ecs(service: Service) -> dict[str, Any]:
    """What the commands of the AWS CLI take with `--cli-input-json`, by the name of a file for each."""
    found = {"task-definition": _task(service), "service": _service(service), "scalable-target": _target(service)}
    planned = [queue for queue in service.queues if queue.backlog is not None]
    for queue in planned:
        suffix = "" if len(planned) == 1 else f"-{queue.name.removesuffix('.fifo')}"
        found[f"scaling-policy{suffix}"] = _policy(service, queue)
    return found


def _task(service: Service) -> dict[str, Any]:
    grace = min(service.grace, FARGATE_LIMIT)
    region = service.queues[0].region
    return {
        "family": service.name,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "512",
        "memory": "1024",
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{service.name}",
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/ecsTaskExecutionRole",
        "containerDefinitions": [
            {
                "name": "consumer",
                "image": service.image,
                "essential": True,
                "command": [
                    "leasekeeper",
                    "run",
                    service.target,
                    "--admin",
                    f"127.0.0.1:{PORT}",
                    "--log-format",
                    "json",
                ],
                "environment": [{"name": VARIABLE, "value": str(grace)}],
                "stopTimeout": grace,
                "user": "10001",
                "readonlyRootFilesystem": True,
                "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
                "healthCheck": {
                    "command": ["CMD", "leasekeeper", "health"],
                    "interval": 30,
                    "timeout": 10,
                    "retries": 3,
                    "startPeriod": 60,
                },
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": f"/ecs/{service.name}",
                        "awslogs-region": region,
                        "awslogs-stream-prefix": "consumer",
                    },
                },
            }
        ],
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "cluster": CLUSTER,
        "serviceName": service.name,
        "taskDefinition": service.name,
        "desiredCount": 1,
        "launchType": "FARGATE",
        "deploymentConfiguration": {
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": ["SUBNET"], "securityGroups": ["GROUP"], "assignPublicIp": "DISABLED"}
        },
    }


def _scaled(service: Service) -> dict[str, str]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{CLUSTER}/{service.name}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }


def _target(service: Service) -> dict[str, Any]:
    return {**_scaled(service), "MinCapacity": 1, "MaxCapacity": service.most}


def _policy(service: Service, queue: QueuePlan) -> dict[str, Any]:
    """Target tracking of the wanted tasks by those that run, by metric math: nothing has to be published.

    The backlog for each task alone would end tasks as soon as the backlog is gone, and start them again.
    """
    wanted = f"(held / {queue.in_flight} + visible / {queue.backlog:g})"
    tasks = {"ClusterName": CLUSTER, "ServiceName": service.name}
    return {
        **_scaled(service),
        "PolicyName": f"wanted-for-{queue.name}",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 1.0,
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 300,
            "CustomizedMetricSpecification": {
                "Metrics": [
                    _metric("visible", "AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue.name}),
                    _metric("held", "AWS/SQS", "ApproximateNumberOfMessagesNotVisible", {"QueueName": queue.name}),
                    _metric("tasks", "ECS/ContainerInsights", "RunningTaskCount", tasks),
                    {
                        "Id": "wanted",
                        "Label": "wanted tasks by running tasks",
                        "Expression": f"{wanted} / IF(tasks < 1, 1, tasks)",
                        "ReturnData": True,
                    },
                ]
            },
        },
    }


def _metric(identity: str, namespace: str, name: str, dimensions: dict[str, str]) -> dict[str, Any]:
    return {
        "Id": identity,
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            },
            "Stat": "Average",
        },
        "ReturnData": False,
    }
