"""Scaled objects as the program makes them: what they follow, and what they may start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cli.graph import ROOT, evaluate
from components.scaling import annotations_of, scaled_object
from components.settings import parse

if TYPE_CHECKING:
    from cli.graph import Graph

DEV = ROOT / "Pulumi.dev.yaml"
CONFIG: dict[str, Any] = {
    key.removeprefix("ollama-eks:"): value
    for key, value in yaml.safe_load(DEV.read_text())["config"].items()
    if key.startswith("ollama-eks:")
}
SCALED_OBJECT = "kubernetes:keda.sh/v1alpha1:ScaledObject"

WINDOW = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "instances": 2}


def _with(**changes: object) -> dict[str, Any]:
    """Config changes: the first model of the stack file with something else."""
    first, *others = CONFIG["models"]
    return {"models": [{**first, **changes}, *others]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"maxInstances": 0, "minInstances": 1},
        {"maxInstances": 3, "minInstances": 1, "schedule": [WINDOW], "scaling": {"pollSeconds": 5}},
    ],
)
def test_every_model_has_the_scaled_object_of_its_config(changes: dict[str, object]) -> None:
    """Its own Deployment, queue and limits; and one model's limits are no other's."""
    graph = evaluate(DEV, _with(**changes))
    settings = parse({**CONFIG, **_with(**changes)})
    assert [each.name for each in graph.of_type(SCALED_OBJECT)] == ["extract", "summarize"]
    for model in settings.models:
        made = graph.one(SCALED_OBJECT, model.name).inputs
        assert made["metadata"] == {
            "name": model.name,
            "namespace": "ollama",
            **({"annotations": annotations} if (annotations := annotations_of(model, settings)) else {}),
        }
        assert made["spec"] == scaled_object(
            model,
            settings,
            deployment=graph.one("kubernetes:apps/v1:Deployment", model.name).outputs["metadata"]["name"],
            queue_url=graph.one("aws:sqs/queue:Queue", model.name).outputs["url"],
            region="eu-central-1",
        )


def test_a_paused_model_is_paused_alone(dev: Graph) -> None:
    """Its own ScaledObject says so, what its worker is told says so, and nothing of the other's changes."""
    paused = evaluate(DEV, _with(maxInstances=0))
    annotations = {
        each.name: each.inputs["metadata"].get("annotations") for each in paused.of_type(SCALED_OBJECT)
    }
    assert annotations == {"summarize": {"autoscaling.keda.sh/paused-replicas": "0"}, "extract": None}
    other = (SCALED_OBJECT, "extract")
    assert paused.one(*other).inputs == dev.one(*other).inputs


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_nothing_else_moves_the_number_of_pods(stack: str, request: pytest.FixtureRequest) -> None:
    """Each Deployment has one ScaledObject that names it, in its own namespace."""
    graph: Graph = request.getfixturevalue(stack)
    targets = sorted(
        (each.inputs["metadata"]["namespace"], each.inputs["spec"]["scaleTargetRef"]["name"])
        for each in graph.of_type(SCALED_OBJECT)
    )
    deployments = sorted(
        (each.inputs["metadata"]["namespace"], each.inputs["metadata"]["name"])
        for each in graph.of_type("kubernetes:apps/v1:Deployment")
    )
    assert targets == deployments
