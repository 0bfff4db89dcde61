"""A VPC that exists already: looked at as a whole before anything is made, and left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.computed import INVOKES
from cli.graph import PROJECT, ROOT, GraphError, Project, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.graph import Graph

DEV = ROOT / "Pulumi.dev.yaml"
ALONE = Project(PROJECT, ROOT / "tests" / "graph" / "network_program.py")
VPC = "vpc-0123456789abcdef0"
A, B, C = (f"subnet-0123456789abcdef{zone}" for zone in "abc")
GET_VPC, GET_SUBNET, GET_SUBNETS = (
    "aws:ec2/getVpc:getVpc",
    "aws:ec2/getSubnet:getSubnet",
    "aws:ec2/getSubnets:getSubnets",
)
ONE_A_ZONE = "name one subnet a zone, since a file system has one mount target there"
SOUND = {"availableIpAddressCount": 6, "mapPublicIpOnLaunch": False}
"""Just enough."""


def _existing(*subnets: str) -> dict[str, Any]:
    return {"network": {"existing": {"vpcId": VPC, "subnetIds": list(subnets)}}}


@pytest.fixture(scope="module")
def whole(_outputs_are_no_text: None) -> Graph:
    """A whole stack in a VPC of somebody else's."""
    return evaluate(DEV, _existing(A, B))


def test_nothing_of_the_network_is_made(dev: Graph, whole: Graph) -> None:
    """Of EC2's things there are the nodes' templates and the file system's group, in that VPC."""
    graph = evaluate(DEV, _existing(A, B, C), project=ALONE)
    assert [each.type for each in graph.resources.values()] == ["ollama-eks:index:Network"]
    assert graph.exports == {
        "vpc": VPC,
        "subnets": {A: A, B: B, C: C},
        "controlPlane": [A, B],
        "usable": [A, B, C],
    }
    mine = {each.type for each in whole.resources.values() if each.type.startswith("aws:ec2/")}
    assert mine == {"aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/securityGroup:SecurityGroup"}
    (group,) = whole.of_type("aws:ec2/securityGroup:SecurityGroup")
    assert group.inputs["vpcId"] == VPC
    assert {each.type for each in whole.resources.values()} < {each.type for each in dev.resources.values()}


def test_mount_targets_are_told_apart_by_their_subnets(whole: Graph) -> None:
    """So one more subnet is one more of them, and moves no other."""
    targets = whole.of_type("aws:efs/mountTarget:MountTarget")
    assert {each.name: each.inputs["subnetId"] for each in targets} == {f"models-{A}": A, f"models-{B}": B}


def _refused(patch: pytest.MonkeyPatch, subnets: Sequence[str], answers: Mapping[str, Any]) -> list[str]:
    """What is said about some subnets, if AWS answers like this."""
    for token, answer in answers.items():
        patch.setitem(INVOKES, token, answer)
    with pytest.raises(GraphError) as caught:
        evaluate(DEV, _existing(*subnets), project=ALONE)
    first, *lines = str(caught.value).splitlines()
    assert first == f"the stack's config has {len(lines)} problem(s):"
    return [line.removeprefix("  - network.existing: ") for line in lines]


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what was found, and what would be right."""

    def subnet(inputs: dict[str, Any]) -> dict[str, Any]:
        public = inputs["id"] == B
        return {
            "availabilityZone": "eu-central-1a",
            "availableIpAddressCount": 5,
            "mapPublicIpOnLaunch": public,
        }

    answers = {
        GET_SUBNETS: {"ids": [A, B]},
        GET_VPC: {"enableDnsSupport": False, "enableDnsHostnames": False},
        GET_SUBNET: subnet,
    }
    assert _refused(monkeypatch, (A, B, C), answers) == [
        f"{C}: is no subnet of {VPC} in this account and region",
        f"{VPC}: has no DNS support; switch it on, nodes find control plane and file system by it",
        f"{VPC}: has no DNS hostnames; switch it on, nodes find control plane and file system by it",
        f"{A}: has 5 free addresses; EKS needs 6, and pods more",
        f"{B}: lies in eu-central-1a, as {A} does; {ONE_A_ZONE}",
        f"{B}: gives public addresses to what starts in it; name a private subnet",
        f"{B}: has 5 free addresses; EKS needs 6, and pods more",
    ]


def test_of_a_vpc_that_is_not_there_the_subnets_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is asked: the provider's own error would hide what is known."""

    def never(_inputs: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError

    missing = [f"{each}: is no subnet of {VPC} in this account and region" for each in (A, B)]
    answers = {GET_SUBNETS: {"ids": []}, GET_VPC: never, GET_SUBNET: never}
    assert _refused(monkeypatch, (A, B), answers) == missing


def test_just_enough_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six free addresses are what EKS itself needs."""
    monkeypatch.setitem(
        INVOKES, GET_SUBNET, lambda inputs: {**SOUND, "availabilityZone": f"eu-central-1{inputs['id'][-1]}"}
    )
    assert evaluate(DEV, _existing(A, B), project=ALONE).exports["usable"] == [A, B]
