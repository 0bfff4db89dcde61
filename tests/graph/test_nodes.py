"""Groups of nodes: one that is always on, and one for each instance type, which starts at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from cli.graph import Graph

DEV = ROOT / "Pulumi.dev.yaml"
GROUP, TEMPLATE, TAG = (
    "aws:eks/nodeGroup:NodeGroup",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:autoscaling/tag:Tag",
)
OWN_KEYS = ("amiType", "instanceTypes", "capacityType", "scalingConfig", "labels", "taints")
POOL, ACCELERATOR = "ollama-eks/pool", "k8s.amazonaws.com/accelerator"
MODELS = [
    {"name": "own", "from": "tiny"},
    {"name": "big", "from": "tiny", "instanceType": "g6e.12xlarge", "gpuCount": 2, "maxInstances": 3},
    {"name": "cpu", "from": "tiny", "instanceType": "m7i.xlarge", "gpuCount": 0, "maxInstances": 1},
]


@pytest.fixture(scope="module")
def mixed() -> Graph:
    """A stack of three models on three instance types, one of them without GPUs."""
    return evaluate(DEV, {"models": MODELS})


def _group(instance_type: str, accelerator: str | None) -> dict[str, Any]:
    return {
        "amiType": "BOTTLEROCKET_x86_64_NVIDIA" if accelerator else "BOTTLEROCKET_x86_64",
        "instanceTypes": [instance_type],
        "capacityType": "ON_DEMAND",
        "scalingConfig": {"minSize": 0, "desiredSize": 0, "maxSize": 450},
        "labels": {POOL: instance_type} | ({ACCELERATOR: accelerator} if accelerator else {}),
        "taints": [{"key": POOL, "value": instance_type, "effect": "NO_SCHEDULE"}],
    }


def test_each_instance_type_has_its_own_group(mixed: Graph) -> None:
    """Labelled and tainted by it, from zero to the most that EKS takes; the system's has no taint."""
    groups = {
        each.name: {key: each.inputs[key] for key in OWN_KEYS if key in each.inputs}
        for each in mixed.of_type(GROUP)
    }
    assert groups == {
        "nodes-system": {
            "amiType": "BOTTLEROCKET_x86_64",
            "instanceTypes": ["t3.large"],
            "scalingConfig": {"minSize": 2, "desiredSize": 2, "maxSize": 3},
            "labels": {POOL: "system"},
        },
        "nodes-g6-2xlarge": _group("g6.2xlarge", "nvidia-l4"),
        "nodes-g6e-12xlarge": _group("g6e.12xlarge", "nvidia-l40s"),
        "nodes-m7i-xlarge": _group("m7i.xlarge", None),
    }


def test_a_models_pods_go_to_its_own_nodes_alone(mixed: Graph) -> None:
    """They ask for the label of one group, bear its taint and no other, and fit it by their GPUs."""
    groups = {each.inputs["labels"][POOL]: each.inputs for each in mixed.of_type(GROUP)}
    pods: dict[str, dict[str, Any]] = {
        each.name: each.inputs["spec"]["template"]["spec"]
        for each in mixed.of_type("kubernetes:apps/v1:Deployment")
    }
    pools = {name: pod["nodeSelector"] for name, pod in pods.items()}
    assert pools == {
        "own": {POOL: "g6.2xlarge"},
        "big": {POOL: "g6e.12xlarge"},
        "cpu": {POOL: "m7i.xlarge"},
    }
    for pod in pods.values():
        (taint,) = groups[pod["nodeSelector"][POOL]]["taints"]
        assert pod["tolerations"] == [{"key": taint["key"], "value": taint["value"], "effect": "NoSchedule"}]
    limits = {name: pod["initContainers"][0]["resources"]["limits"] for name, pod in pods.items()}
    assert {name: each.get("nvidia.com/gpu") for name, each in limits.items()} == {
        "own": "1",
        "big": "2",
        "cpu": None,
    }


def test_the_autoscaler_is_told_of_each_group_what_it_cannot_see(mixed: Graph) -> None:
    """By tags of its Auto Scaling group alone: labels, taint, GPUs, disk, and how soon a node goes."""
    template = "k8s.io/cluster-autoscaler/node-template/"
    said: dict[str, dict[str, str]] = {}
    for each in mixed.of_type(TAG):
        tag = each.inputs["tag"]
        assert tag["propagateAtLaunch"] is False
        assert tag["key"].startswith(template)
        group = said.setdefault(each.inputs["autoscalingGroupName"], {})
        group[tag["key"].removeprefix(template)] = tag["value"]

    def told(instance_type: str, accelerator: str | None, gpus: str | None) -> dict[str, str]:
        tags = {
            f"label/{POOL}": instance_type,
            f"label/{ACCELERATOR}": accelerator,
            f"taint/{POOL}": f"{instance_type}:NoSchedule",
            "resources/nvidia.com/gpu": gpus,
            "resources/ephemeral-storage": "90Gi",
            "autoscaling-options/scaledownunneededtime": "2m",
        }
        return {key: value for key, value in tags.items() if value is not None}

    assert said == {
        "eks-nodes-g6-2xlarge-graph": told("g6.2xlarge", "nvidia-l4", "1"),
        "eks-nodes-g6e-12xlarge-graph": told("g6e.12xlarge", "nvidia-l40s", "4"),
        "eks-nodes-m7i-xlarge-graph": told("m7i.xlarge", None, None),
    }


def test_a_new_instance_type_touches_no_other_group(mixed: Graph) -> None:
    """Groups, templates and tags that were there are the same ones, in whatever order models are listed."""
    fourth = {"name": "fourth", "from": "tiny", "instanceType": "g5.xlarge"}
    after = evaluate(DEV, {"models": [fourth, *MODELS]})
    for kind in (GROUP, TEMPLATE, TAG):
        before = {each.urn: each for each in mixed.of_type(kind)}
        assert {urn: after.resources.get(urn) for urn in before} == before
        new = {each.name for each in after.of_type(kind)} - {each.name for each in before.values()}
        assert new
        assert all(name.startswith("nodes-g5-xlarge") for name in new)


def test_how_many_nodes_there_are_is_the_autoscalers(mixed: Graph) -> None:
    """An update leaves their number alone; nothing else that is ignored belongs to nodes."""
    ignored = {
        each.name: each.ignore_changes
        for each in mixed.resources.values()
        if each.type.startswith("aws:") and each.ignore_changes
    }
    desired = ("scalingConfig.desiredSize",)
    pools = ("system", "g6-2xlarge", "g6e-12xlarge", "m7i-xlarge")
    assert ignored == {f"nodes-{kind}": desired for kind in pools}


def test_every_node_has_the_disk_and_the_metadata_service_that_it_needs(mixed: Graph) -> None:
    """Encrypted, and fast where an image is pulled at each start; the node's role is out of a pod's reach."""
    templates = {each.name: each.inputs for each in mixed.of_type(TEMPLATE)}
    assert templates.keys() == {each.name for each in mixed.of_type(GROUP)}
    for name, inputs in templates.items():
        assert inputs["metadataOptions"] == {"httpTokens": "required", "httpPutResponseHopLimit": 1}
        root, disk = inputs["blockDeviceMappings"]
        assert root == {
            "deviceName": "/dev/xvda",
            "ebs": {"volumeType": "gp3", "encrypted": "true", "deleteOnTermination": "true"},
        }
        fast = {} if name == "nodes-system" else {"throughput": 600, "iops": 6000}
        assert disk == {
            "deviceName": "/dev/xvdb",
            "ebs": {
                "volumeType": "gp3",
                "volumeSize": 100 if fast else 30,
                "encrypted": "true",
                "deleteOnTermination": "true",
                **fast,
            },
        }


def test_spot_is_for_model_nodes_alone() -> None:
    """What keeps the cluster running is never taken away with two minutes' notice."""
    graph = evaluate(DEV, {"models": MODELS, "capacityType": "spot"})
    assert {each.name: each.inputs.get("capacityType") for each in graph.of_type(GROUP)} == {
        "nodes-system": None,
        **{f"nodes-{kind}": "SPOT" for kind in ("g6-2xlarge", "g6e-12xlarge", "m7i-xlarge")},
    }


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_a_pool_is_there_for_every_model(stack: str, request: pytest.FixtureRequest) -> None:
    """Of the stack files too: no model asks for a label that no group has."""
    graph: Graph = request.getfixturevalue(stack)
    asked = {
        each.inputs["spec"]["template"]["spec"]["nodeSelector"][POOL]
        for each in graph.of_type("kubernetes:apps/v1:Deployment")
    }
    instance_type = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"][
        "ollama-eks:instanceType"
    ]
    groups = {each.inputs["labels"][POOL] for each in graph.of_type(GROUP)}
    assert (asked, groups) == ({instance_type}, {instance_type, "system"})
