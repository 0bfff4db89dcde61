"""The example program: another container beside a model of the stack, by the same pod function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT, Project, evaluate
from runtime.spec import ModelSpec

if TYPE_CHECKING:
    from cli.graph import Graph

FOLDER = ROOT / "examples" / "own_container"
PLATFORM = "organization/ollama-eks/dev"


@pytest.fixture(scope="module")
def own(dev: Graph) -> Graph:
    """What the example makes on the dev stack."""
    return evaluate(
        FOLDER / "Pulumi.dev.yaml",
        project=Project("own-container", FOLDER / "__main__.py"),
        references={PLATFORM: dev.exports},
    )


def _pod(graph: Graph) -> dict[str, Any]:
    (deployment,) = graph.of_type("kubernetes:apps/v1:Deployment")
    return deployment.inputs["spec"]["template"]["spec"]


def test_it_makes_three_objects_in_the_serving_namespace(own: Graph, dev: Graph) -> None:
    """An account, the model's spec, and the Deployment; nothing of the stack is made again."""
    assert sorted(each.type.rpartition(":")[2] for each in own.resources.values() if each.custom) == [
        "ConfigMap",
        "Deployment",
        "ServiceAccount",
    ]
    namespaces = {each.inputs["metadata"]["namespace"] for each in own.resources.values() if each.custom}
    assert namespaces == {dev.exports["serving"]["namespace"]}


def test_its_server_is_the_stacks_own_but_for_what_it_chose(own: Graph, dev: Graph) -> None:
    """Port, processors and memory are the program's; model, image, mounts and hardening are the stack's."""
    (mine,) = _pod(own)["initContainers"]
    (theirs,) = dev.one("kubernetes:apps/v1:Deployment", "summarize").inputs["spec"]["template"]["spec"][
        "initContainers"
    ]
    different = {key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}
    # Whether the server hangs is said by a worker alone.
    assert different == {"env", "resources", "livenessProbe"}
    changed = {entry["name"]: entry["value"] for entry in mine["env"] if entry not in theirs["env"]}
    assert changed == {"OLLAMA_HOST": "127.0.0.1:11500"}
    amounts = {"memory": "24576Mi", "nvidia.com/gpu": "1"}
    assert mine["resources"] == {"requests": {**amounts, "cpu": "4"}, "limits": amounts}


def test_its_container_finds_the_model_and_is_kept_from_the_store(own: Graph) -> None:
    """It asks on loopback, mounts nothing, and the model that it needs is marked as needed."""
    (main,) = _pod(own)["containers"]
    assert main["env"] == [{"name": "OLLAMA_HOST", "value": "http://127.0.0.1:11500"}]
    assert "volumeMounts" not in main
    (config,) = own.of_type("kubernetes:core/v1:ConfigMap")
    model = ModelSpec.model_validate_json(config.inputs["data"]["model.json"])
    (deployment,) = own.of_type("kubernetes:apps/v1:Deployment")
    assert deployment.inputs["spec"]["template"]["metadata"]["annotations"]["ollama-eks/model"] == model.hash
