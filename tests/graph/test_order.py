"""What must be there before what, and so, backwards, what must be gone before what.

The engine makes a resource after its dependencies, and the child of a component after those of its parent.
What the tests cannot show is that the engine keeps to that; the engine tier does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.graph import Graph, Resource

VPC_CNI, KUBE_PROXY, IDENTITY_AGENT = (
    f"Addon node-addons-{name}" for name in ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
)
NODES = ("NodeGroup nodes-system", "NodeGroup nodes-g6-2xlarge")
TARGETS = ("MountTarget models-a", "MountTarget models-b")
WAY_OUT = (
    "Route network-private-a",
    "Route network-private-b",
    "RouteTableAssociation network-private-a",
    "RouteTableAssociation network-private-b",
    "VpcEndpoint network-s3",
)
CSI, AUTOSCALER, KEDA = "Addon addons-aws-efs-csi-driver", "Release addons-autoscaler", "Release keda"

BEFORE: dict[str, tuple[str, ...]] = {
    # A NAT gateway in a subnet without a way out fails; a node without one never joins.
    "NatGateway network-public-a": ("Route network-public", "RouteTableAssociation network-public-a"),
    **dict.fromkeys(NODES, (VPC_CNI, KUBE_PROXY, IDENTITY_AGENT, *WAY_OUT)),
    # Pods get credentials when they are admitted, never later.
    VPC_CNI: ("PodIdentityAssociation node-addons-vpc-cni",),
    CSI: (*NODES, "PodIdentityAssociation addons-efs-csi"),
    AUTOSCALER: (*NODES, "PodIdentityAssociation addons-autoscaler"),
    "Addon addons-coredns": NODES,
    # Namespaces and claims are what waits for the last pod, so they go before what pods need to leave, and
    # before what lets idle nodes go while another one's pod still drains.
    "Namespace namespaces-serving": (*NODES, CSI, AUTOSCALER),
    "Namespace namespaces-jobs": (*NODES, CSI, AUTOSCALER),
    # Its programs find each other by DNS, and its rights where pods are served are a RoleBinding there.
    KEDA: (
        *NODES,
        "PodIdentityAssociation keda",
        "Namespace keda",
        "Addon addons-coredns",
        "Namespace namespaces-serving",
    ),
    "PersistentVolumeClaim models-read": ("Namespace namespaces-serving",),
    "PersistentVolumeClaim models-write": ("Namespace namespaces-jobs",),
    # Finalisers of both kinds need the operator.
    "ClusterTriggerAuthentication keda": (KEDA,),
    "ScaledObject summarize": ("Deployment summarize", "ClusterTriggerAuthentication keda", KEDA),
    "Deployment summarize": (
        "Job summarize-model",
        "ServiceAccount summarize",
        "PodIdentityAssociation summarize",
        "PersistentVolumeClaim models-read",
        CSI,
    ),
    "Job summarize-model": (
        "ServiceAccount summarize-model",
        "PersistentVolumeClaim models-write",
        "Namespace namespaces-jobs",
        CSI,
    ),
    # Without mount targets the first mount fails on DNS; a security group in use cannot be deleted.
    "PersistentVolume models-read": (*TARGETS, "SecurityGroupIngressRule models", "AccessPoint models-read"),
    "PersistentVolume models-write": (
        *TARGETS,
        "SecurityGroupIngressRule models",
        "AccessPoint models-write",
    ),
    "MountTarget models-a": ("SecurityGroup models", "Subnet network-private-a"),
    "MountTarget models-b": ("SecurityGroup models", "Subnet network-private-b"),
    # An event that the queue does not admit yet is lost.
    "EventTarget summarize": ("QueuePolicy summarize", "Queue summarize", "EventRule summarize"),
    "Queue summarize": ("Queue summarize-dead-letter",),
}


def _label(resource: Resource) -> str:
    return f"{resource.type.rpartition(':')[2]} {resource.name}"


def _made(graph: Graph, label: str) -> Resource:
    """The resource of a label such as `Job summarize-model`; components are none of them."""
    (found,) = (each for each in graph.resources.values() if each.custom and _label(each) == label)
    return found


def _before(graph: Graph, resource: Resource) -> set[str]:
    """Labels of all resources that exist before this one does."""
    seen: set[str] = set()
    waiting = [resource.urn]
    while waiting:
        known = graph.resources.get(waiting.pop())
        if known is not None:
            ahead = {*known.dependencies, known.parent} - seen
            seen |= ahead
            waiting += ahead
    return {_label(graph.resources[urn]) for urn in seen if urn in graph.resources}


@pytest.mark.parametrize("what", BEFORE)
def test_what_is_needed_is_there_before(dev: Graph, what: str) -> None:
    """Each edge has its reason in the table; destroying goes the same way back."""
    for needed in BEFORE[what]:
        _made(dev, needed)
    assert set(BEFORE[what]) - _before(dev, _made(dev, what)) == set()


def test_a_job_that_reads_s3_has_its_rights_before(local: Graph) -> None:
    """A model that is built from an object gets a role, and its pods are admitted after it."""
    before = _before(local, _made(local, "Job summarize-model"))
    assert {
        "ServiceAccount summarize-model",
        "RolePolicy summarize-model",
        "PodIdentityAssociation summarize-model",
    } - before == set()


def test_nothing_waits_for_itself(dev: Graph) -> None:
    """The edges have no circle, so there is an order in which all of them are kept."""
    resources = [each for each in dev.resources.values() if each.custom]
    assert [_label(each) for each in resources if _label(each) in _before(dev, each)] == []


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_a_role_is_given_out_with_all_of_its_rights(stack: str, request: pytest.FixtureRequest) -> None:
    """No association is there before every policy of its role, so no pod starts with half of them."""
    graph: Graph = request.getfixturevalue(stack)
    roles = {each.outputs["arn"]: each for each in graph.of_type("aws:iam/role:Role")}
    rights = [
        *graph.of_type("aws:iam/rolePolicy:RolePolicy"),
        *graph.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment"),
    ]
    for association in graph.of_type("aws:eks/podIdentityAssociation:PodIdentityAssociation"):
        role = roles[association.inputs["roleArn"]]
        own = {_label(each) for each in rights if each.inputs["role"] == f"{role.name}-id"}
        assert own
        assert own - _before(graph, association) == set()


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_every_workload_is_admitted_after_its_association(stack: str, request: pytest.FixtureRequest) -> None:
    """Whatever account a pod runs under, its rights, if it has any, are there first."""
    graph: Graph = request.getfixturevalue(stack)
    workloads = [*graph.of_type("kubernetes:apps/v1:Deployment"), *graph.of_type("kubernetes:batch/v1:Job")]
    associations = {
        (each.inputs["namespace"], each.inputs["serviceAccount"]): _label(each)
        for each in graph.of_type("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    }
    late = {
        _label(each)
        for each in workloads
        if (own := associations.get((each.inputs["metadata"]["namespace"], _account(each))))
        and own not in _before(graph, each)
    }
    assert late == set()


def _account(workload: Resource) -> str:
    return workload.inputs["spec"]["template"]["spec"]["serviceAccountName"]
