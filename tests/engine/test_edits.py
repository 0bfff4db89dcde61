"""Each edit of a stack file touches what it has to, and nothing else.

What is created and deleted follows from the program, and the graph tests judge it. What is updated, and what
is made anew, is the engine's answer to changed inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import evaluate
from tests.engine.cloud import label
from tests.engine.engine import STACK_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.graph import Graph
    from tests.engine.engine import Stack

    Models = list[dict[str, Any]]
    Change = Callable[[Models], dict[str, Any]]

POOL = "nodes-g6-2xlarge"
DASHBOARD = {"Dashboard watch": "update"}
# It watches one node group, and the queues of the models that run there.
IDLE_ALARM = {"MetricAlarm watch-idle-g6-2xlarge": "update"}
TAGS = tuple(
    f"{POOL}-{tag}"
    for tag in (
        "autoscaling-options-scaledownunneededtime",
        "label-k8s-amazonaws-com-accelerator",
        "label-ollama-eks-pool",
        "resources-ephemeral-storage",
        "resources-nvidia-com-gpu",
        "taint-ollama-eks-pool",
    )
)
THIRD_MODEL = {"name": "translate", "from": "llama3.2:1b", "prompt": "Translate the document into English."}


def _prompt(models: Models) -> dict[str, Any]:
    models[0]["prompt"] = "Summarize the document in one sentence."
    return {"models": models}


def _source(models: Models) -> dict[str, Any]:
    models[0]["from"] = "llama3.2:1b"
    return {"models": models}


def _another_model(models: Models) -> dict[str, Any]:
    return {"models": [*models, THIRD_MODEL]}


def _more_instances(_: Models) -> dict[str, Any]:
    return {"maxInstances": 3}


def _instance_type(_: Models) -> dict[str, Any]:
    return {"instanceType": "g6.4xlarge"}


def _zone(_: Models) -> dict[str, Any]:
    return {"network": {"zones": ["a", "b", "c"]}}


def _egress(_: Models) -> dict[str, Any]:
    return {"network": {"egress": "nat-per-zone"}}


def _cooldown(_: Models) -> dict[str, Any]:
    return {"scaling": {"cooldownSeconds": 1200}}


def _each(kinds: str, names: tuple[str, ...], how: str) -> dict[str, str]:
    return {f"{kind} {name}": how for kind in kinds.split() for name in names}


BOTH = ("summarize", "extract")
TASK_OF_SUMMARIZE = {"ConfigMap summarize": "replace", "Deployment summarize": "update"}
TASKS = _each("ConfigMap", BOTH, "replace") | _each("Deployment", BOTH, "update")

EDITS: dict[str, tuple[Change, dict[str, str]]] = {
    "a prompt": (_prompt, TASK_OF_SUMMARIZE),
    "a model's source": (
        _source,
        TASK_OF_SUMMARIZE | _each("ConfigMap Job", ("summarize-model",), "replace"),
    ),
    # KEDA reads one more queue, and there is room for one more model's nodes.
    "another model": (
        _another_model,
        {"RolePolicy keda": "update", "Release addons-autoscaler": "update"}
        | _each("Policy", ("uploaders", "readers"), "update")
        | DASHBOARD
        | IDLE_ALARM,
    ),
    "more instances": (
        _more_instances,
        TASKS | _each("ScaledObject", BOTH, "update") | {"Release addons-autoscaler": "update"},
    ),
    "another instance type": (_instance_type, _each("Deployment", BOTH, "update") | DASHBOARD),
    # A node group's subnets are its own for life. The new group is there before the old one drains.
    "a zone appended": (
        _zone,
        {"VpcEndpoint network-s3": "update"}
        | DASHBOARD
        | IDLE_ALARM
        | _each("NodeGroup", (POOL, "nodes-system"), "replace")
        | _each("Tag", TAGS, "replace"),
    ),
    # The other zone gets a gateway of its own; no subnet is touched.
    "a gateway for each zone": (_egress, {"Route network-private-b": "update"}),
    "the cool-down": (_cooldown, _each("ScaledObject", BOTH, "update")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_touches_what_it_has_to_and_nothing_else(stack: Stack, graph: Graph, edit: str) -> None:
    """Every other resource, a model's Job above all, stays as it is."""
    change, changed = EDITS[edit]
    changes = change(stack.models)
    stack.configure(changes)
    before, after = _labels(graph), _labels(evaluate(STACK_FILE, changes))
    created = dict.fromkeys(after - before, "create")
    deleted = dict.fromkeys(before - after, "delete")
    assert stack.up().steps == changed | created | deleted


def _labels(graph: Graph) -> set[str]:
    return {label(each.urn) for each in graph.resources.values() if each.custom}
