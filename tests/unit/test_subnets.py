"""The address plan, over every range and number of zones that the config can say."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Network
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from moto.ec2.models.instance_types import INSTANCE_TYPES

from components.endpoints import ENDPOINTS
from components.subnets import MAX_ZONES, SMALLEST_PREFIX, ZoneSubnets, plan

LARGEST_PREFIX = 16
KEPT_BY_AWS = 5
"""Addresses of every subnet (VPC user guide, "Subnet sizing")."""

INTERFACES = 2
"""Network interfaces that the VPC CNI holds on a node with a few pods: one in use, one warm (its
`WARM_ENI_TARGET`, 1 by default)."""

SYSTEM_NODES, MOUNT_TARGETS, CONTROL_PLANE = 3, 1, 4
"""What else there is in a zone: EKS puts two to four interfaces into a cluster's subnets (EKS best practices
guide, "VPC and subnet considerations")."""

DOCS = (Path(__file__).parent.parent.parent / "docs" / "egress.md").read_text()


def _range(parts: tuple[int, int]) -> IPv4Network:
    address, prefix = parts
    return IPv4Network((address, prefix), strict=False)


RANGES = st.tuples(st.integers(0, 2**32 - 1), st.integers(LARGEST_PREFIX, SMALLEST_PREFIX)).map(_range)
ZONES = st.integers(1, MAX_ZONES)


def _all(zones: tuple[ZoneSubnets, ...]) -> list[IPv4Network]:
    return [IPv4Network(cidr) for zone in zones for cidr in (zone.private, zone.public)]


@given(RANGES, ZONES)
def test_no_subnet_overlaps_another(cidr: IPv4Network, zones: int) -> None:
    """Every address of the VPC belongs to one subnet at most."""
    assert not any(
        one.overlaps(other) for one, other in itertools.combinations(_all(plan(str(cidr), zones)), 2)
    )


@given(RANGES, ZONES)
def test_every_subnet_lies_in_the_vpc(cidr: IPv4Network, zones: int) -> None:
    """None reaches beyond the range that was given."""
    assert all(subnet.subnet_of(cidr) for subnet in _all(plan(str(cidr), zones)))


@given(RANGES, st.integers(1, MAX_ZONES - 1))
def test_a_zone_appended_moves_no_other(cidr: IPv4Network, zones: int) -> None:
    """Subnets cannot be renumbered in place, so those that are there stay as they are."""
    assert plan(str(cidr), zones + 1)[:zones] == plan(str(cidr), zones)


@given(RANGES, ZONES)
def test_each_zone_has_an_eighth_and_a_small_public_part(cidr: IPv4Network, zones: int) -> None:
    """A private subnet is an eighth of the VPC, a public one a quarter of that."""
    sizes = [
        (IPv4Network(zone.private).prefixlen, IPv4Network(zone.public).prefixlen)
        for zone in plan(str(cidr), zones)
    ]
    assert sizes == zones * [(cidr.prefixlen + 3, cidr.prefixlen + 5)]


def _addresses(instance_type: str) -> int:
    """What the VPC CNI holds for a node."""
    return INTERFACES * INSTANCE_TYPES[instance_type]["NetworkInfo"]["Ipv4AddressesPerInterface"]


def test_a_zone_has_room_for_its_nodes_and_their_pods() -> None:
    """Should capacity be found in one zone alone, this many model nodes fit beside all system nodes."""
    table = DOCS[DOCS.index("| `cidr` |") :].split("\n\n")[0]
    (_, _, *instance_types), _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    )
    assert len(rows) == 4
    for cidr, said, *nodes in rows:
        room = IPv4Network(plan(cidr, MAX_ZONES)[-1].private).num_addresses - KEPT_BY_AWS
        assert int(said) == room
        room -= len(ENDPOINTS) + MOUNT_TARGETS + CONTROL_PLANE + SYSTEM_NODES * _addresses("t3.large")
        assert [int(each) for each in nodes] == [room // _addresses(each) for each in instance_types]


def test_the_default_plan_is_this_one() -> None:
    """The default range and two zones give these four subnets, whatever else changes."""
    assert plan("10.64.0.0/16", 2) == (
        ZoneSubnets(private="10.64.0.0/19", public="10.64.224.0/21"),
        ZoneSubnets(private="10.64.32.0/19", public="10.64.232.0/21"),
    )
