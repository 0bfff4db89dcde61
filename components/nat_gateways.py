"""The way to the internet and not back: NAT gateways, and the small public subnets that they stand in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class NatGatewaysArgs:
    """The VPC, and the ranges of its public subnets by their zones: each gets one gateway."""

    stack: Stack
    vpc_id: pulumi.Input[str]
    public: Mapping[str, str]


class NatGateways(pulumi.ComponentResource):
    """Gateways that can be routed to; nothing else has a public address, or a place to have one."""

    by_zone: Mapping[str, pulumi.Output[str]]

    def __init__(self, name: str, args: NatGatewaysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:NatGateways", name, None, opts)
        child, called = pulumi.ResourceOptions(parent=self), f"{args.stack.cluster_name}-public"

        tags = {"Name": called}
        internet = aws.ec2.InternetGateway(name, vpc_id=args.vpc_id, tags=tags, opts=child)
        table = aws.ec2.RouteTable(f"{name}-public", vpc_id=args.vpc_id, tags=tags, opts=child)
        to_internet = aws.ec2.Route(
            f"{name}-public",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=internet.id,
            opts=child,
        )
        gateways: dict[str, pulumi.Output[str]] = {}
        for zone, cidr in args.public.items():
            key, tags = f"{name}-public-{zone}", {"Name": f"{called}-{zone}"}
            subnet = aws.ec2.Subnet(
                key,
                vpc_id=args.vpc_id,
                cidr_block=cidr,
                availability_zone=f"{args.stack.region}{zone}",
                map_public_ip_on_launch=False,
                tags=tags,
                opts=child,
            )
            association = aws.ec2.RouteTableAssociation(
                key, subnet_id=subnet.id, route_table_id=table.id, opts=child
            )
            address = aws.ec2.Eip(key, domain="vpc", tags=tags, opts=child)
            gateways[zone] = aws.ec2.NatGateway(
                key,
                subnet_id=subnet.id,
                allocation_id=address.allocation_id,
                tags=tags,
                # Created after: a NAT gateway in a subnet without a way out fails. Deleted before, likewise.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[to_internet, association]),
            ).id
        self.by_zone = gateways
        self.register_outputs({"byZone": self.by_zone})

    def nearest(self, zone: str) -> pulumi.Output[str]:
        """The zone's own gateway, or the first where it has none."""
        return self.by_zone.get(zone, next(iter(self.by_zone.values())))
