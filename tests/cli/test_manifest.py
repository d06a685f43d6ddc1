"""Manifests: their fields are those of Kubernetes, KEDA and ECS, and a stop fits into their grace periods."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from leasekeeper import Consumer, Leasekeeper
from leasekeeper.cli.grace import MARGIN, cut_off, cut_short, grace_period
from leasekeeper.cli.manifests.ecs import FARGATE_LIMIT, ecs, too_long
from leasekeeper.cli.manifests.kubernetes import kubernetes
from leasekeeper.cli.manifests.service import Service, label_of, service_of
from leasekeeper.errors import ConfigurationError
from leasekeeper.life import longest_stop

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

KNOWN = {
    "ServiceAccount": set[str](),
    "TriggerAuthentication": {"podIdentity"},
    "Deployment": {"selector", "strategy", "template"},
    "Service": {"clusterIP", "publishNotReadyAddresses", "selector", "ports"},
    "ScaledObject": {
        "scaleTargetRef",
        "pollingInterval",
        "cooldownPeriod",
        "minReplicaCount",
        "maxReplicaCount",
        "advanced",
        "triggers",
    },
    "ScaledJob": {
        "pollingInterval",
        "maxReplicaCount",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "scalingStrategy",
        "jobTargetRef",
        "triggers",
    },
}
"""The fields of each kind's `spec` that its schema (Kubernetes 1.34, KEDA 2.21) has, as far as we use them."""
POD = {
    "shareProcessNamespace",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "securityContext",
    "containers",
    "restartPolicy",
}
CONTAINER = {
    "name",
    "image",
    "command",
    "env",
    "resources",
    "securityContext",
    "ports",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
}
SQS_TRIGGER = {"queueURL", "awsRegion", "queueLength", "scaleOnInFlight"}


def app(**values: Any) -> Leasekeeper:
    made = Leasekeeper(region="eu-west-1", **values)

    @made.consumer("orders", concurrency=20)
    async def ship(_body: str) -> None:
        pass

    @made.consumer("https://sqs.eu-west-1.amazonaws.com/123456789012/bills.fifo", drain_timeout=40)
    async def bill(_body: str) -> None:
        pass

    return made


def service(made: Leasekeeper | None = None, **more: Any) -> Service:
    given: dict[str, Any] = {"name": None, "image": "shop:1", "most": 20, "handler_seconds": 0.2, "latency": 60.0}
    return service_of("shop.main:app", (made or app()).consumers, **given | more)


def documents(text: str) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.mark.parametrize("jobs", [False, True])
def test_every_field_is_one_that_its_kind_has(*, jobs: bool) -> None:
    found = documents(kubernetes(service(), jobs=jobs))
    assert found.keys() == {"ServiceAccount", "TriggerAuthentication"} | (
        {"ScaledJob"} if jobs else {"Deployment", "Service", "ScaledObject"}
    )
    for kind, document in found.items():
        assert document.keys() <= {"apiVersion", "kind", "metadata", "spec"}
        assert isinstance(document["metadata"], dict)
        assert document["metadata"]["name"] == "shop-main"
        assert document.get("spec", {}).keys() <= KNOWN[kind], kind
    pod = found["ScaledJob"]["spec"]["jobTargetRef"]["template"] if jobs else found["Deployment"]["spec"]["template"]
    assert pod["spec"].keys() <= POD
    assert pod["spec"]["containers"][0].keys() <= CONTAINER
    if not jobs:
        advanced = found["ScaledObject"]["spec"]["advanced"]
        assert advanced.keys() == {"scalingModifiers", "horizontalPodAutoscalerConfig"}
    for trigger in found["ScaledJob" if jobs else "ScaledObject"]["spec"]["triggers"]:
        assert trigger["type"] == "aws-sqs-queue"
        assert trigger["metadata"].keys() == SQS_TRIGGER
        assert all(isinstance(value, str) for value in trigger["metadata"].values())  # as KEDA demands
        assert trigger["authenticationRef"] == {"name": "shop-main"}


def test_the_selector_finds_the_pods_and_keda_the_deployment() -> None:
    found = documents(kubernetes(service()))
    deployment = found["Deployment"]
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert found["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert [port["name"] for port in container["ports"]] == ["admin"]
    assert {container[probe]["httpGet"]["port"] for probe in container if probe.endswith("Probe")} == {"admin"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]


def test_the_numbers_of_the_scaling_are_those_of_the_options() -> None:
    spec = documents(kubernetes(service()))["ScaledObject"]["spec"]
    assert spec["advanced"]["scalingModifiers"] == {
        "formula": "max((all0 - visible0) / 16 + visible0 / 6000, (all1 - visible1) / 16 + visible1 / 6000)",
        "target": "1",
    }
    named = {trigger["name"]: trigger["metadata"] for trigger in spec["triggers"]}
    assert named.keys() == {"visible0", "all0", "visible1", "all1"}  # as the formula has them
    assert named["all0"] == {
        "queueURL": "https://sqs.eu-west-1.amazonaws.com/ACCOUNT/orders",
        "awsRegion": "eu-west-1",
        "queueLength": "16",
        "scaleOnInFlight": "true",
    }
    assert named["visible0"] == {**named["all0"], "scaleOnInFlight": "false"}
    assert named["all1"]["queueURL"] == "https://sqs.eu-west-1.amazonaws.com/123456789012/bills.fifo"


def test_without_a_handler_time_what_waits_counts_like_what_is_in_flight() -> None:
    assert service(handler_seconds=None).formula.startswith("max((all0 - visible0) / 16 + visible0 / 16, ")


@pytest.mark.parametrize(
    "values", [{}, {"drain_timeout": 600}, {"flush_timeout": 30, "poll_grace": 30}, {"lifespan": True}]
)
def test_a_stop_fits_into_the_grace_period(values: dict[str, Any]) -> None:
    """Of the slowest consumer, with its drain, its flush and its lifespan."""
    if values.pop("lifespan", False):
        values["lifespan"] = lambda _app: None
    made = app(**values)
    options = [consumer.options for consumer in made.consumers]
    least = max(max(each.drain_timeout, each.poll_grace) + each.flush_timeout for each in options)
    if "lifespan" in values:
        least += options[0].lifespan_timeout
    found = service(made)
    assert least < found.stop < least + 8
    assert found.grace >= found.stop + MARGIN
    deployment = documents(kubernetes(found))["Deployment"]["spec"]["template"]["spec"]
    assert deployment["terminationGracePeriodSeconds"] == found.grace
    assert deployment["containers"][0]["env"] == [{"name": "LEASEKEEPER_GRACE_PERIOD", "value": str(found.grace)}]
    jobs = documents(kubernetes(found, jobs=True))["ScaledJob"]["spec"]["jobTargetRef"]["template"]["spec"]
    assert jobs["terminationGracePeriodSeconds"] == found.grace
    [container] = ecs(found)["task-definition"]["containerDefinitions"]
    assert container["stopTimeout"] == min(found.grace, FARGATE_LIMIT)
    assert bool(too_long(found)) == (found.grace > FARGATE_LIMIT)


def test_a_drain_that_fargate_cuts_off_is_said() -> None:
    problem = too_long(service(app(drain_timeout=600)))
    assert problem.startswith(
        "a stop may take 609 s, but Fargate kills a task after 120 s: lower drain_timeout by 494 s"
    )
    assert "ecs_protection=True" in problem
    assert "ecs_protection" not in too_long(service(app(drain_timeout=600, ecs_protection=True)))


@pytest.mark.parametrize(
    ("part", "name", "operation"),
    [
        ("task-definition", "ecs", "RegisterTaskDefinition"),
        ("service", "ecs", "CreateService"),
        ("scalable-target", "application-autoscaling", "RegisterScalableTarget"),
        ("scaling-policy-orders", "application-autoscaling", "PutScalingPolicy"),
        ("scaling-policy-bills", "application-autoscaling", "PutScalingPolicy"),
    ],
)
def test_the_input_of_the_aws_cli_is_valid(part: str, name: str, operation: str) -> None:
    """By the models of the services: unknown members, missing ones and wrong types are errors."""
    model = botocore.session.get_session().get_service_model(name).operation_model(operation).input_shape
    assert model is not None
    found = ecs(service())[part]
    assert ParamValidator().validate(found, model).generate_report() == ""
    assert set(_members(found, model)) == set()


def _members(value: Any, shape: Any) -> list[str]:
    """Members that the shape does not have: the validator lets them pass."""
    if shape.type_name == "structure":
        unknown = [name for name in value if name not in shape.members]
        return unknown + [each for name in value for each in _members(value[name], shape.members.get(name, shape))]
    if shape.type_name == "list":
        return [each for item in value for each in _members(item, shape.member)]
    return []


def test_the_scaling_of_ecs_tracks_the_wanted_tasks() -> None:
    policy = ecs(service())["scaling-policy-orders"]["TargetTrackingScalingPolicyConfiguration"]
    assert policy["TargetValue"] == 1
    metrics = policy["CustomizedMetricSpecification"]["Metrics"]
    assert [metric["ReturnData"] for metric in metrics] == [False, False, False, True]
    assert metrics[3]["Expression"] == "(held / 16 + visible / 6000) / IF(tasks < 1, 1, tasks)"
    assert {metric["Id"] for metric in metrics[:3]} == {"held", "visible", "tasks"}
    assert not [part for part in ecs(service(handler_seconds=None)) if part.startswith("scaling")]


@pytest.mark.parametrize(
    ("text", "label"),
    [("shop:app", "shop"), ("shop.orders:main", "shop-orders-main"), ("_:app", "consumer"), ("A_b:app", "a-b")],
)
def test_a_name_is_a_label_of_dns(text: str, label: str) -> None:
    assert label_of(text) == label


def test_a_name_that_kubernetes_refuses_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"--name='My_App': Kubernetes takes .*; try 'my-app'"):
        service(name="My_App")


def test_a_short_grace_period_is_said_with_what_to_change() -> None:
    consumer = Consumer("orders", lambda _body: None)
    assert cut_off(consumer.options, consumer.longest_stop, 30) == ""
    assert cut_off(consumer.options, consumer.longest_stop, 10) == (
        "a stop may take 29 s (drain_timeout=20 s, flush_timeout=5 s, and what does not end by itself), but the "
        "process is killed after 10 s; what it holds then comes again. Set the grace period to 34 s "
        "(terminationGracePeriodSeconds of Kubernetes, stopTimeout of ECS, `docker stop -t`, TimeoutStopSec of systemd)"
    )
    assert cut_off(consumer.options, consumer.longest_stop, 20).endswith(", or drain_timeout to 10 s")
    with_lifespan = longest_stop(consumer.options, lifespan=True)
    assert "flush_timeout=5 s, lifespan_timeout=10 s, and what" in cut_off(consumer.options, with_lifespan, 30)
    assert grace_period(29.0) == 34


@pytest.mark.parametrize(("grace", "left"), [(28, None), (29, "0"), (30, "1"), (32.5, "3.5"), (33, None)])
def test_exit_functions_that_may_be_cut_off_after_a_stop_are_named(grace: float, left: str | None) -> None:
    """A stop of 29 s, and 4 s for what libraries have registered with `atexit`."""
    words = (
        f"exit functions, such as the last flush of telemetry, may take 4 s after it and have {left} s: set the grace "
        "period to 34 s if they need more"
    )
    assert cut_short(29.0, grace) == ("" if left is None else words)


# What is in the repository


def test_the_manifests_in_deploy_are_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "scripts" / "deploy_page.py"))
    for name, text in script["files"]().items():
        assert (DEPLOY / name).read_text() == text, f"{name}: run `make pages`"


def test_the_container_file_starts_the_command_itself_and_not_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line and not line.startswith("#")}
    assert json.loads(words["ENTRYPOINT"]) == ["leasekeeper"]
    assert json.loads(words["CMD"])[:2] == ["run", "shop:app"]
    assert json.loads(words["HEALTHCHECK"].partition("CMD ")[2]) == ["leasekeeper", "health"]
    assert int(words["USER"]) > 0
    [pod] = [
        document["spec"]["template"]["spec"]
        for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
        if document["kind"] == "Deployment"
    ]
    [task] = json.loads((DEPLOY / "ecs-task-definition.json").read_text())["containerDefinitions"]
    assert words["USER"] == str(pod["securityContext"]["runAsUser"]) == task["user"]
