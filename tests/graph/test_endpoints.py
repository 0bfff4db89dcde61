"""A stack without the internet: it reaches every AWS service that it calls, and nothing else."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from cli.graph import ROOT, Graph, evaluate
from components.endpoints import ENDPOINTS, NOT_CALLED

if TYPE_CHECKING:
    from collections.abc import Iterator

SEALED = {
    "network": {"egress": "endpoints"},
    "mirror": True,
    "models": [{"name": "a", "modelfile": "FROM s3://weights/tiny.gguf"}],
}
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
GUARDED = {"events", "monitoring", "sqs"}
NAMED_BY_NO_POLICY = {"sts"}

MANAGED: dict[str, Any] = json.loads(aws_managed_policies_data)
"""AWS's managed policies by name, as moto ships them."""

OWN_IDENTITIES = {
    "Sid": "OwnIdentities",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "*",
    "Resource": "*",
    "Condition": {"StringEquals": {"aws:PrincipalAccount": "123456789012"}},
}


@pytest.fixture(scope="module")
def sealed(_outputs_are_no_text: None) -> Graph:
    """A whole stack whose VPC has no way to the internet."""
    return evaluate(ROOT / "Pulumi.dev.yaml", SEALED)


def _documents(graph: Graph) -> Iterator[dict[str, Any]]:
    """The policies of all roles that nodes and pods have."""
    inside = {
        each.name
        for each in graph.of_type("aws:iam/role:Role")
        if any(
            f'"Service": "{service}"' in json.dumps(json.loads(each.inputs["assumeRolePolicy"]))
            for service in ("ec2.amazonaws.com", "pods.eks.amazonaws.com")
        )
    }
    for policy in graph.of_type("aws:iam/rolePolicy:RolePolicy"):
        if policy.inputs["role"].removesuffix("-id") in inside:
            yield json.loads(policy.inputs["policy"])
    for attached in graph.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment"):
        if attached.inputs["role"].removesuffix("-id") in inside:
            yield MANAGED[attached.inputs["policyArn"].rpartition("/")[2]]["Document"]


def _called(graph: Graph) -> set[str]:
    """The services that nodes and pods may call, by the prefix of their actions."""
    actions = [
        action
        for document in _documents(graph)
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]
    return {action.partition(":")[0] for action in actions}


def _unreached(graph: Graph) -> set[str]:
    """Services that are called and have no endpoint in the graph."""
    services = {each.inputs["serviceName"].partition(".eu-central-1.")[2] for each in graph.of_type(ENDPOINT)}
    reached = {each.actions for each in ENDPOINTS if each.service in services} | (services & {"s3"})
    return _called(graph) - reached - NOT_CALLED.keys()


def test_every_service_that_is_called_has_its_endpoint(sealed: Graph) -> None:
    """Whatever a node's or a pod's policy names, but for what others call on their behalf."""
    assert _unreached(sealed) == set()


@pytest.mark.parametrize(
    "service",
    sorted({each.service for each in ENDPOINTS} - NAMED_BY_NO_POLICY - {"ecr.api", "ecr.dkr"} | {"s3"}),
)
def test_an_endpoint_that_is_missing_is_found(sealed: Graph, service: str) -> None:
    """Each of them alone."""
    rest = {
        urn: each
        for urn, each in sealed.resources.items()
        if not each.inputs.get("serviceName", "").endswith(f".{service}")
    }
    assert len(rest) == len(sealed.resources) - 1
    assert len(_unreached(Graph(rest, {}))) == 1


def test_the_docs_have_each_with_its_reason() -> None:
    """Whoever owns a VPC makes them by this table."""
    docs = (ROOT / "docs" / "egress.md").read_text()
    table = docs[docs.index("| endpoint | why |") :].split("\n\n")[0]
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == [(each.service, each.reason) for each in ENDPOINTS]


def test_no_endpoint_is_there_for_nothing(sealed: Graph) -> None:
    """Each bills by the hour: some policy names its service, but where a guide of AWS's asks for it."""
    idle = {each.service for each in ENDPOINTS if each.actions not in _called(sealed)}
    assert idle == NAMED_BY_NO_POLICY


def test_an_endpoint_answers_to_its_services_own_name(sealed: Graph) -> None:
    """In every zone, behind the one group, which HTTPS from the VPC may pass and nothing else."""
    (group,) = (
        each for each in sealed.of_type("aws:ec2/securityGroup:SecurityGroup") if "network" in each.name
    )
    assert not {"ingress", "egress"} & group.inputs.keys()
    for each in sealed.of_type(ENDPOINT):
        if each.name == "network-s3":
            assert each.inputs["routeTableIds"] == [f"network-private-{zone}-id" for zone in "ab"]
            continue
        assert each.inputs["vpcEndpointType"] == "Interface"
        assert each.inputs["privateDnsEnabled"] is True
        assert each.inputs["subnetIds"] == [f"network-private-{zone}-id" for zone in "ab"]
        assert each.inputs["securityGroupIds"] == [f"{group.name}-id"]
    (rule,) = (
        each
        for each in sealed.of_type("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
        if each.inputs["securityGroupId"] == f"{group.name}-id"
    )
    assert rule.inputs == {
        "securityGroupId": f"{group.name}-id",
        "cidrIpv4": "10.64.0.0/16",
        "ipProtocol": "tcp",
        "fromPort": 443,
        "toPort": 443,
    }


def test_what_takes_text_is_for_own_identities_alone(sealed: Graph) -> None:
    """And S3 for the layers of images too, which ECR hands out by URLs that it has signed."""
    policies = {
        each.inputs["serviceName"].partition(".eu-central-1.")[2]: json.loads(each.inputs["policy"])
        for each in sealed.of_type(ENDPOINT)
        if "policy" in each.inputs
    }
    layers = {
        "Sid": "LayersOfImages",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::prod-eu-central-1-starport-layer-bucket/*",
    }
    own = {"Version": "2012-10-17", "Statement": [OWN_IDENTITIES]}
    assert policies == {
        **dict.fromkeys(GUARDED, own),
        "s3": {"Version": "2012-10-17", "Statement": [OWN_IDENTITIES, layers]},
    }


def test_beside_an_open_way_out_s3_is_free_for_all(dev: Graph) -> None:
    """Public registries keep layers in S3 too, and a policy would keep nothing in."""
    (endpoint,) = dev.of_type(ENDPOINT)
    assert endpoint.inputs["vpcEndpointType"] == "Gateway"
    assert "policy" not in endpoint.inputs


def test_nodes_come_when_all_of_it_is_there(sealed: Graph) -> None:
    """A node that cannot pull an image or ask EKS never joins; and its endpoints outlive it."""
    (rule,) = (
        each
        for each in sealed.of_type("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
        if each.name == "network-endpoints"
    )
    needed = {rule.urn, *(each.urn for each in sealed.of_type(ENDPOINT))}
    groups = sealed.of_type("aws:eks/nodeGroup:NodeGroup")
    assert groups
    for each in groups:
        assert needed - each.dependencies == set()
