"""The VPC: private subnets for everything, one way out, and a road to S3 that costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components import subnets

if TYPE_CHECKING:
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkArgs:
    """The stack says the region, the VPC's range and the zones."""

    stack: Stack


class Network(pulumi.ComponentResource):
    """A VPC whose private subnets reach the internet through one NAT gateway and S3 without it."""

    vpc_id: pulumi.Output[str]
    private_subnet_ids: list[pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        region, settings = args.stack.region, args.stack.settings.network

        vpc = aws.ec2.Vpc(
            name,
            cidr_block=settings.cidr,
            # Mount targets of EFS and private endpoints are found by DNS.
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": name},
            opts=child,
        )
        # Adopting the default group without rules empties it: nothing may use it by accident.
        aws.ec2.DefaultSecurityGroup(name, vpc_id=vpc.id, opts=child)

        internet = aws.ec2.InternetGateway(name, vpc_id=vpc.id, opts=child)
        public_routes = aws.ec2.RouteTable(f"{name}-public", vpc_id=vpc.id, opts=child)
        to_internet = aws.ec2.Route(
            f"{name}-public",
            route_table_id=public_routes.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=internet.id,
            opts=child,
        )
        private_routes = aws.ec2.RouteTable(f"{name}-private", vpc_id=vpc.id, opts=child)

        public: list[tuple[aws.ec2.Subnet, aws.ec2.RouteTableAssociation]] = []
        private: list[tuple[aws.ec2.Subnet, aws.ec2.RouteTableAssociation]] = []
        for zone, plan in zip(settings.zones, subnets.plan(settings.cidr, len(settings.zones)), strict=True):
            for kind, cidr, routes, made in (
                ("public", plan.public, public_routes, public),
                ("private", plan.private, private_routes, private),
            ):
                subnet = aws.ec2.Subnet(
                    f"{name}-{kind}-{zone}",
                    vpc_id=vpc.id,
                    cidr_block=cidr,
                    availability_zone=f"{region}{zone}",
                    tags={"Name": f"{name}-{kind}-{zone}"},
                    opts=child,
                )
                association = aws.ec2.RouteTableAssociation(
                    f"{name}-{kind}-{zone}", subnet_id=subnet.id, route_table_id=routes.id, opts=child
                )
                made.append((subnet, association))

        address = aws.ec2.Eip(f"{name}-nat", domain="vpc", opts=child)
        nat = aws.ec2.NatGateway(
            name,
            subnet_id=public[0][0].id,
            allocation_id=address.allocation_id,
            # Created after: a NAT gateway in a subnet without a way out fails. Deleted before, likewise.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[to_internet, public[0][1]]),
        )
        way_out = aws.ec2.Route(
            f"{name}-private",
            route_table_id=private_routes.id,
            destination_cidr_block="0.0.0.0/0",
            nat_gateway_id=nat.id,
            opts=child,
        )
        to_s3 = aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            vpc_endpoint_type="Gateway",
            service_name=f"com.amazonaws.{region}.s3",
            route_table_ids=[private_routes.id],
            opts=child,
        )

        self.vpc_id = vpc.id
        # Published once usable: a node without a way out never joins. And the way out outlives its users.
        self.private_subnet_ids = [
            pulumi.Output.all(subnet.id, association.id, way_out.id, to_s3.id).apply(lambda ids: str(ids[0]))
            for subnet, association in private
        ]
        self.register_outputs({"vpcId": self.vpc_id, "privateSubnetIds": self.private_subnet_ids})
