"""The address plan: pure arithmetic over one CIDR, stable when a zone is appended."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

MAX_ZONES = 4
"""The plan reserves room for this many, so that a zone appended later moves no other zone's subnet."""

SMALLEST_PREFIX = 22
"""A /22 leaves 123 addresses to a zone: AWS keeps five of each subnet. Pods take theirs from them too: the
VPC CNI holds all those of two network interfaces for each node. So there is room for the system nodes and a
small model node, should all of them be in one zone."""


@dataclass(frozen=True, slots=True)
class ZoneSubnets:
    """The two subnets of one zone, as CIDR texts."""

    private: str
    public: str


def plan(cidr: str, zones: int) -> tuple[ZoneSubnets, ...]:
    """Splits a VPC's range into one private and one small public subnet for each zone.

    The range falls into eight equal parts: part i is zone i's private subnet, and the last part is cut again
    into the public subnets, which hold nothing but NAT gateways.

    Args:
        cidr: the VPC's IPv4 range, between /16 and /22 (16 is the largest that a VPC may have).
        zones: how many zones, 1 to `MAX_ZONES`.
    """
    eighths = list(ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=3))
    publics = list(eighths[-1].subnets(prefixlen_diff=2))
    return tuple(
        ZoneSubnets(private=str(private), public=str(public))
        for private, public in zip(eighths[:zones], publics[:zones], strict=True)
    )
