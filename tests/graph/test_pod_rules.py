"""What a serving pod is to the cluster: its rank, its name for itself, and its rights by the Kubernetes API.

What the policy admits is asked of a real API server in tests/cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cli.graph import Graph

MODELS = ["summarize", "extract"]


def _template(graph: Graph, name: str) -> dict[str, Any]:
    return graph.one("kubernetes:apps/v1:Deployment", name).inputs["spec"]["template"]


@pytest.mark.parametrize("name", MODELS)
def test_the_token_is_the_workers_alone(dev: Graph, name: str) -> None:
    """It is mounted where client libraries look for it, in the one container that uses it."""
    pod = _template(dev, name)["spec"]
    assert pod["automountServiceAccountToken"] is False
    (volume,) = (each for each in pod["volumes"] if "projected" in each)
    assert volume["projected"]["sources"] == [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    holders = {
        container["name"]
        for container in (*pod["initContainers"], *pod["containers"])
        for mount in container["volumeMounts"]
        if mount["name"] == volume["name"]
    }
    assert holders == {"worker"}


@pytest.mark.parametrize("name", MODELS)
def test_a_worker_knows_which_pod_it_is(dev: Graph, name: str) -> None:
    """By fields, not by its host's name, which is cut at 63 characters."""
    (worker,) = _template(dev, name)["spec"]["containers"]
    fields = {
        entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"]
        for entry in worker["env"]
        if "valueFrom" in entry
    }
    assert fields == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


@pytest.mark.parametrize("name", MODELS)
def test_a_busy_pod_is_left_alone(dev: Graph, name: str) -> None:
    """The autoscaler does not empty its node, and no pod of lower rank is pushed aside for it."""
    template = _template(dev, name)
    assert template["metadata"]["annotations"].keys() == {
        "ollama-eks/model",
        "cluster-autoscaler.kubernetes.io/safe-to-evict",
    }
    assert template["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    rank = dev.one("kubernetes:scheduling.k8s.io/v1:PriorityClass", "pod-rules")
    assert template["spec"]["priorityClassName"] == rank.outputs["metadata"]["name"]
    assert (rank.inputs["value"], rank.inputs["preemptionPolicy"]) == (1000, "Never")


@pytest.mark.parametrize("name", MODELS)
def test_a_template_names_the_model_that_it_needs(dev: Graph, name: str) -> None:
    """Garbage collection keeps what a template names: the directory that the server reads."""
    template = _template(dev, name)
    (server,) = template["spec"]["initContainers"]
    (directory,) = (entry["value"] for entry in server["env"] if entry["name"] == "OLLAMA_MODELS")
    assert directory == f"/models/{template['metadata']['annotations']['ollama-eks/model']}"


def test_what_pods_may_do_by_the_api_is_this(dev: Graph) -> None:
    """RBAC gives the namespace two verbs, and only once the policy that narrows them is in force."""
    role = dev.one("kubernetes:rbac.authorization.k8s.io/v1:Role", "pod-rules")
    assert role.inputs["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch", "delete"]}]
    binding = dev.one("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "pod-rules")
    assert binding.inputs["subjects"] == [
        {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": "system:serviceaccounts:ollama",
        }
    ]
    assert role.inputs["metadata"]["namespace"] == binding.inputs["metadata"]["namespace"] == "ollama"
    held = dev.one("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding", "pod-rules")
    assert held.inputs["spec"]["validationActions"] == ["Deny"]
    assert held.urn in binding.dependencies
