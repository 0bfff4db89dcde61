"""The network by its way out: what is made, what an edit changes, and that nothing reaches in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import PROJECT, ROOT, Graph, Project, Resource, evaluate
from components.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable

DEV = ROOT / "Pulumi.dev.yaml"
ALONE = Project(PROJECT, ROOT / "tests" / "graph" / "network_program.py")
ANYWHERE = IPv4Network("0.0.0.0/0")

VPC, SUBNET, TABLE, ASSOCIATION, ROUTE = (
    "aws:ec2/vpc:Vpc",
    "aws:ec2/subnet:Subnet",
    "aws:ec2/routeTable:RouteTable",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ec2/route:Route",
)
INTERNET, NAT, EIP = (
    "aws:ec2/internetGateway:InternetGateway",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/eip:Eip",
)
ENDPOINT, GROUP, RULE = (
    "aws:ec2/vpcEndpoint:VpcEndpoint",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
)

MADE = Counter(
    {
        "ollama-eks:index:Network": 1,
        "ollama-eks:index:FlowLogs": 1,
        "ollama-eks:index:VpcEndpoints": 1,
        VPC: 1,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
        "aws:ec2/flowLog:FlowLog": 1,
        "aws:cloudwatch/logGroup:LogGroup": 1,
        "aws:iam/role:Role": 1,
        "aws:iam/rolePolicy:RolePolicy": 1,
        ENDPOINT: 1,
        **dict.fromkeys((SUBNET, TABLE, ASSOCIATION), 2),
    }
)
"""Of every VPC that is made in two zones."""

TO_INTERNET = Counter({"ollama-eks:index:NatGateways": 1, INTERNET: 1, TABLE: 1, ROUTE: 1})
GATEWAY = Counter({SUBNET: 1, ASSOCIATION: 1, EIP: 1, NAT: 1})
DEFAULT_ROUTES = Counter({ROUTE: 2})

RESOURCES: dict[str, Counter[str]] = {
    "nat": MADE + TO_INTERNET + GATEWAY + DEFAULT_ROUTES,
    "nat-per-zone": MADE + TO_INTERNET + GATEWAY + GATEWAY + DEFAULT_ROUTES,
    "endpoints": MADE + Counter({ENDPOINT: len(ENDPOINTS), GROUP: 1, RULE: 1}),
}


def _config(egress: str, *zones: str) -> dict[str, Any]:
    """Config changes for a way out; a VPC without the internet needs images and models from inside."""
    inside = {"mirror": True, "models": [{"name": "a", "modelfile": "FROM s3://weights/tiny.gguf"}]}
    network = {"egress": egress, "zones": list(zones or ("a", "b"))}
    return {"network": network} | (inside if egress == "endpoints" else {})


def _network(egress: str, *zones: str) -> Graph:
    return evaluate(DEV, _config(egress, *zones), project=ALONE)


@pytest.fixture(scope="module")
def made(_outputs_are_no_text: None) -> dict[str, Graph]:
    """The network alone, by each way out, in two zones."""
    return {egress: _network(egress) for egress in RESOURCES}


def _label(resource: Resource) -> str:
    return f"{resource.type.rpartition(':')[2]} {resource.name}"


def _changed(before: Graph, after: Graph) -> set[str]:
    """Everything of `before` that has other inputs, or is gone."""
    return {
        _label(each)
        for urn, each in before.resources.items()
        if urn not in after.resources or after.resources[urn].inputs != each.inputs
    }


def _added(before: Graph, after: Graph) -> set[str]:
    return {_label(after.resources[urn]) for urn in after.resources.keys() - before.resources.keys()}


# What holds for every network; each rule gives what breaks it.


def _outside_or_overlapping(graph: Graph) -> set[str]:
    """Subnets beyond their VPC, or over one another."""
    (vpc,) = graph.of_type(VPC)
    ranges = {each.name: IPv4Network(each.inputs["cidrBlock"]) for each in graph.of_type(SUBNET)}
    beyond = {
        name for name, cidr in ranges.items() if not cidr.subnet_of(IPv4Network(vpc.inputs["cidrBlock"]))
    }
    return beyond | {one for one, other in combinations(ranges, 2) if ranges[one].overlaps(ranges[other])}


def _public_addresses(graph: Graph) -> set[str]:
    """Subnets that give public addresses away without being asked."""
    return {each.name for each in graph.of_type(SUBNET) if each.inputs["mapPublicIpOnLaunch"] is not False}


def _open_groups(graph: Graph) -> set[str]:
    """Rules that let in who is outside the VPC."""
    (vpc,) = graph.of_type(VPC)
    inside = IPv4Network(vpc.inputs["cidrBlock"])
    return {
        each.name
        for each in graph.of_type(RULE)
        if "referencedSecurityGroupId" not in each.inputs
        and not IPv4Network(each.inputs["cidrIpv4"]).subnet_of(inside)
    }


def _reachable(graph: Graph) -> set[str]:
    """Private subnets that the internet gateway is routed to, and public ones with more than a gateway in."""
    tables = {each.inputs["subnetId"]: each.inputs["routeTableId"] for each in graph.of_type(ASSOCIATION)}
    public = {each.inputs["routeTableId"] for each in graph.of_type(ROUTE) if "gatewayId" in each.inputs}
    hosts = {each.inputs["subnetId"] for each in graph.of_type(NAT)}
    subnets = [f"{each.name}-id" for each in graph.of_type(SUBNET)]
    return {subnet for subnet in subnets if (tables[subnet] in public) != (subnet in hosts)}


def _astray(graph: Graph) -> set[str]:
    """Routes to anywhere but by a gateway, or to less than everything."""
    gateways = {f"{each.name}-id" for each in (*graph.of_type(NAT), *graph.of_type(INTERNET))}
    return {
        each.name
        for each in graph.of_type(ROUTE)
        if IPv4Network(each.inputs["destinationCidrBlock"]) != ANYWHERE
        or not {each.inputs.get("gatewayId"), each.inputs.get("natGatewayId")} & gateways
    }


def _unnamed(graph: Graph) -> set[str]:
    """What people see in the console without the stack's name on it."""
    kinds = (VPC, SUBNET, TABLE, INTERNET, NAT, EIP, ENDPOINT, GROUP)
    return {
        _label(each)
        for kind in kinds
        for each in graph.of_type(kind)
        if not each.inputs.get("tags", {}).get("Name", "").startswith("ollama-eks-dev")
    }


RULES: dict[Callable[[Graph], set[str]], tuple[str, str, dict[str, Any]]] = {
    _outside_or_overlapping: (SUBNET, "network-private-b", {"cidrBlock": "10.64.0.0/20"}),
    _public_addresses: (SUBNET, "network-private-a", {"mapPublicIpOnLaunch": True}),
    _open_groups: (RULE, "network-endpoints", {"cidrIpv4": "0.0.0.0/0"}),
    _reachable: (ROUTE, "network-private-a", {"gatewayId": "network-id"}),
    _astray: (ROUTE, "network-private-b", {"natGatewayId": "eni-1"}),
    _unnamed: (VPC, "network", {"tags": {}}),
}
"""Each rule, and what of a network breaks it: a resource with other inputs."""


@pytest.mark.parametrize("egress", RESOURCES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_holds(made: dict[str, Graph], egress: str, rule: Callable[[Graph], set[str]]) -> None:
    """Whatever the way out is."""
    assert rule(made[egress]) == set()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_finds_what_breaks_it(made: dict[str, Graph], rule: Callable[[Graph], set[str]]) -> None:
    """In a network that is spoilt in one place, and there alone."""
    token, name, inputs = RULES[rule]
    graph = made["endpoints" if token == RULE else "nat-per-zone"]
    resource = graph.one(token, name)
    spoilt = replace(resource, inputs=resource.inputs | inputs)
    found = rule(replace(graph, resources=graph.resources | {resource.urn: spoilt}))
    assert len(found) == 1
    assert name.removesuffix("-b").removesuffix("-a") in found.pop()


@pytest.mark.parametrize("egress", RESOURCES)
def test_a_network_is_exactly_this(made: dict[str, Graph], egress: str) -> None:
    """Nothing more, nothing less: without a gateway there is no public subnet, and no public address."""
    assert Counter(each.type for each in made[egress].resources.values()) == RESOURCES[egress]


def _way_out(graph: Graph) -> dict[str, str | None]:
    """The NAT gateway behind each private subnet."""
    tables = {each.inputs["subnetId"]: each.inputs["routeTableId"] for each in graph.of_type(ASSOCIATION)}
    gateways = {each.inputs["routeTableId"]: each.inputs.get("natGatewayId") for each in graph.of_type(ROUTE)}
    return {
        each.name: gateways.get(tables[f"{each.name}-id"])
        for each in graph.of_type(SUBNET)
        if "private" in each.name
    }


def test_each_private_subnet_has_its_way_out(made: dict[str, Graph]) -> None:
    """By the one gateway, by that of its own zone, or by none at all."""
    one, other = "network-public-a-id", "network-public-b-id"
    assert {egress: [*_way_out(graph).values()] for egress, graph in made.items()} == {
        "nat": [one, one],
        "nat-per-zone": [one, other],
        "endpoints": [None, None],
    }
    zones = {each.name: each.inputs["availabilityZone"] for each in made["nat-per-zone"].of_type(SUBNET)}
    assert zones == {
        f"network-{kind}-{zone}": f"eu-central-1{zone}" for kind in ("private", "public") for zone in "ab"
    }


@pytest.mark.parametrize("egress", RESOURCES)
def test_a_zone_appended_touches_no_subnet(made: dict[str, Graph], egress: str) -> None:
    """Of what was there the endpoints alone change: they get the new zone's routes, or an address in it."""
    after = _network(egress, "a", "b", "c")
    endpoints = {_label(each) for each in made[egress].of_type(ENDPOINT)}
    assert _changed(made[egress], after) == endpoints
    assert "Subnet network-private-c" in _added(made[egress], after)


@pytest.mark.parametrize("egress", RESOURCES)
def test_the_control_plane_stays_where_it_is(egress: str) -> None:
    """In its first two zones, since EKS takes no other one later; all else may be in all of them."""
    graph = _network(egress, "a", "b", "c")
    subnets = {zone: f"network-private-{zone}-id" for zone in "abc"}
    assert graph.exports == {
        "vpc": "network-id",
        "subnets": subnets,
        "controlPlane": [subnets["a"], subnets["b"]],
        "usable": [*subnets.values()],
    }


def test_another_way_out_touches_no_subnet(made: dict[str, Graph]) -> None:
    """A gateway for each zone is a route of the second one; to do without them takes routes away."""
    one, each, none = (made[egress] for egress in ("nat", "nat-per-zone", "endpoints"))
    assert _changed(one, each) == {"Route network-private-b"}
    assert _added(one, each) == {
        f"{kind} network-public-b" for kind in ("Subnet", "RouteTableAssociation", "Eip", "NatGateway")
    }
    private = {f"{kind} network-private-{zone}" for kind in ("Subnet", "RouteTable") for zone in "ab"}
    assert _changed(one, none) & private == set()


def test_a_gateway_stands_where_there_is_a_way_out(made: dict[str, Graph]) -> None:
    """It is made after the public route and its subnet's place in that table, and deleted before them."""
    graph = made["nat-per-zone"]
    for zone in "ab":
        ahead = {
            _label(graph.resources[urn]) for urn in graph.one(NAT, f"network-public-{zone}").dependencies
        }
        assert {"Route network-public", f"RouteTableAssociation network-public-{zone}"} <= ahead


def test_names_are_found_by_dns_and_the_default_group_is_empty(made: dict[str, Graph]) -> None:
    """Mount targets and endpoints need the first; nothing may use the second by accident."""
    for graph in made.values():
        (vpc,) = graph.of_type(VPC)
        assert (vpc.inputs["enableDnsSupport"], vpc.inputs["enableDnsHostnames"]) == (True, True)
        (group,) = graph.of_type("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
        assert group.inputs == {"vpcId": "network-id"}
