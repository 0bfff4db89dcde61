"""The Cluster Autoscaler and KEDA: their charts' values, their rights, and where their images come from.

A graph has the values and not the charts: that the charts know each of them was seen by rendering both.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT, evaluate
from components.autoscaler import LONGEST_GRACE_SECONDS
from components.names import SERVING_NAMESPACE
from components.settings import parse
from components.versions import CLUSTER_AUTOSCALER, KUBERNETES_SUPPORTED

if TYPE_CHECKING:
    from cli.graph import Graph

DEV = ROOT / "Pulumi.dev.yaml"
MIRROR = ROOT / "docs/mirror.md"
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


def _release(graph: Graph, name: str) -> dict[str, Any]:
    return graph.one("kubernetes:helm.sh/v3:Release", name).inputs


def _statements(graph: Graph, name: str) -> list[dict[str, Any]]:
    return json.loads(graph.one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"])["Statement"]


def _images(graph: Graph) -> set[str]:
    """Whatever both releases pull."""
    autoscaler = _release(graph, "addons-autoscaler")["values"]["image"]
    keda = dict(_release(graph, "keda")["values"]["image"])
    assert keda.pop("pullPolicy") == "IfNotPresent"
    return {
        f"{autoscaler['repository']}:{autoscaler['tag']}",
        *(f"{image['registry']}/{image['repository']}:{image['tag']}" for image in keda.values()),
    }


def test_the_autoscaler_is_told_exactly_this(dev: Graph) -> None:
    """No node outlives its idle time for another's sake, and no pod is cut short by a default."""
    assert _release(dev, "addons-autoscaler") == {
        "name": "cluster-autoscaler",
        "chart": "cluster-autoscaler",
        "version": "9.59.0",
        "namespace": "kube-system",
        "repositoryOpts": {"repo": "https://kubernetes.github.io/autoscaler"},
        "compat": "true",
        "values": {
            "fullnameOverride": "cluster-autoscaler",
            "image": {
                "repository": "registry.k8s.io/autoscaling/cluster-autoscaler",
                "tag": "v1.35.2",
            },
            "awsRegion": "eu-central-1",
            "autoDiscovery": {"clusterName": "ollama-eks-dev"},
            "nodeSelector": {"ollama-eks/pool": "system"},
            "resources": {"requests": {"cpu": "100m", "memory": "600Mi"}, "limits": {"memory": "600Mi"}},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containerSecurityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "extraArgs": {
                "scale-down-delay-after-add": "2m",
                # Four for two models of two pods, and three of the system.
                "max-nodes-total": "7",
                "max-node-provision-time": "10m",
                "max-graceful-termination-sec": "46800",
                "skip-nodes-with-local-storage": "false",
            },
        },
    }


def test_the_autoscaler_may_resize_this_clusters_groups(dev: Graph) -> None:
    """It sees all groups, since nothing narrower can be said, and resizes those with its cluster's tag."""
    account = "eu-central-1:123456789012"
    assert _statements(dev, "addons-autoscaler") == [
        {
            "Effect": "Allow",
            "Action": [
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
            ],
            "Resource": ["*"],
        },
        {
            "Effect": "Allow",
            "Action": ["eks:DescribeNodegroup"],
            "Resource": [f"arn:aws:eks:{account}:nodegroup/ollama-eks-dev/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
            "Resource": [f"arn:aws:autoscaling:{account}:autoScalingGroup:*:autoScalingGroupName/*"],
            "Condition": {
                "StringEquals": {"aws:ResourceTag/k8s.io/cluster-autoscaler/ollama-eks-dev": "owned"}
            },
        },
    ]


def test_no_grace_period_is_cut() -> None:
    """The longest that a model can have is under what the autoscaler waits for."""
    longest = parse({"image": "i:1", "models": [{"name": "a", "from": "tiny", "timeLimit": "43199s"}]})
    assert longest.grace_seconds_of(longest.models[0]) < LONGEST_GRACE_SECONDS


def test_keda_is_told_exactly_this(dev: Graph) -> None:
    """It scales in one namespace, reads no Secret, runs on system nodes and keeps its place there."""
    image = {"registry": "ghcr.io", "tag": "2.20.2"}
    assert _release(dev, "keda") == {
        "name": "keda",
        "chart": "keda",
        "version": "2.20.2",
        "namespace": "keda",
        "repositoryOpts": {"repo": "https://kedacore.github.io/charts"},
        "compat": "true",
        "values": {
            "image": {
                "keda": {**image, "repository": "kedacore/keda"},
                "metricsApiServer": {**image, "repository": "kedacore/keda-metrics-apiserver"},
                "webhooks": {**image, "repository": "kedacore/keda-admission-webhooks"},
                "pullPolicy": "IfNotPresent",
            },
            "watchNamespace": SERVING_NAMESPACE,
            "rbac": {"enabledCustomScaledRefKinds": False},
            "permissions": {
                "operator": {"restrict": {"secret": True}},
                "metricServer": {"restrict": {"secret": True}},
            },
            "nodeSelector": {"ollama-eks/pool": "system"},
            "priorityClassName": "system-cluster-critical",
            "resources": {
                "operator": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                "metricServer": {
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "webhooks": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            },
            "webhooks": {"failurePolicy": "Ignore"},
        },
    }


def test_keda_looks_where_the_pods_are(dev: Graph) -> None:
    """A ScaledObject in any other namespace would be left alone, and say nothing of it."""
    watched = {_release(dev, "keda")["values"]["watchNamespace"]}
    scaled = dev.of_type("kubernetes:keda.sh/v1alpha1:ScaledObject")
    assert {each.inputs["metadata"]["namespace"] for each in scaled} == watched


def test_keda_has_a_namespace_under_the_strictest_standard(dev: Graph) -> None:
    """It goes when the stack does: one that Helm makes would stay."""
    namespace = dev.one("kubernetes:core/v1:Namespace", "keda").inputs["metadata"]
    assert namespace == {"name": "keda", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


def test_rights_are_those_of_the_accounts_that_the_charts_make(dev: Graph) -> None:
    """A role for any other account would leave the pods without credentials."""
    accounts = {
        each.name: (each.inputs["namespace"], each.inputs["serviceAccount"])
        for each in dev.of_type("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    }
    autoscaler, keda = _release(dev, "addons-autoscaler"), _release(dev, "keda")
    own = autoscaler["values"]["fullnameOverride"]
    assert accounts["addons-autoscaler"] == (autoscaler["namespace"], own)
    # The chart's own name for it.
    assert accounts["keda"] == (keda["namespace"], "keda-operator")


@pytest.fixture(scope="module")
def by_version() -> dict[str, Graph]:
    """The same stack on each Kubernetes that it can have."""
    return {version: evaluate(DEV, {"kubernetesVersion": version}) for version in KUBERNETES_SUPPORTED}


def test_the_autoscaler_is_of_the_clusters_version(by_version: dict[str, Graph]) -> None:
    """It decides by a scheduler of its own, which has to be the cluster's."""
    for version, graph in by_version.items():
        tag = _release(graph, "addons-autoscaler")["values"]["image"]["tag"]
        assert tag.startswith(f"v{version}.")
    assert CLUSTER_AUTOSCALER.keys() == by_version.keys()


def test_the_manual_lists_the_images_to_copy(by_version: dict[str, Graph]) -> None:
    """Those of every Kubernetes that a stack can have, and no other."""
    listed = MIRROR.read_text().split("```\n")[1].split()
    assert sorted(listed) == sorted(set().union(*map(_images, by_version.values())))


def test_a_mirror_has_every_image_under_its_own_path(dev: Graph) -> None:
    """Of what upstream registries have, the registry alone is another."""
    upstream, copies = _images(dev), _images(evaluate(DEV, {"mirror": True}))
    assert {image.partition("/")[0] for image in upstream} == {"ghcr.io", "registry.k8s.io"}
    assert copies == {f"{REGISTRY}/{image.partition('/')[2]}" for image in upstream}
