"""The VPC: private subnets for everything, and the way out of them that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components import existing_vpc, subnets
from components.flow_logs import FlowLogs, FlowLogsArgs
from components.nat_gateways import NatGateways, NatGatewaysArgs
from components.vpc_endpoints import VpcEndpoints, VpcEndpointsArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkArgs:
    """Which network it is.

    Attributes:
        stack: says the region, and of the VPC range, zones and way out, or which one it is.
        key_arn: key that flow logs are encrypted with; CloudWatch's own for None.
    """

    stack: Stack
    key_arn: pulumi.Output[str] | None = None


class Network(pulumi.ComponentResource):
    """Private subnets, one a zone, in a VPC of the stack's own or, looked at first, in one that exists.

    Attributes:
        vpc_id: the VPC.
        private_subnets: the subnets by keys that stay when one is appended. They are there, maybe without a
            way out yet: enough for what calls nobody, such as mount targets.
        control_plane_subnet_ids: the first two of them. EKS takes no zone that the control plane was not made
            with (EKS user guide, "Networking requirements"), so one that is appended is for nodes alone.
        private_subnet_ids: all of them, once a node in them reaches what it needs.
    """

    vpc_id: pulumi.Output[str]
    private_subnets: Mapping[str, pulumi.Output[str]]
    control_plane_subnet_ids: Sequence[pulumi.Output[str]]
    private_subnet_ids: Sequence[pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Network", name, None, opts)
        existing = args.stack.settings.network.existing
        if existing is None:
            self._make(name, args.stack, args.key_arn)
        else:
            existing_vpc.require_usable(existing, self)
            self.vpc_id = pulumi.Output.from_input(existing.vpc_id)
            self.private_subnets = {each: pulumi.Output.from_input(each) for each in existing.subnet_ids}
            self.private_subnet_ids = [*self.private_subnets.values()]
        self.control_plane_subnet_ids = [*self.private_subnets.values()][:2]
        self.register_outputs({"vpcId": self.vpc_id, "privateSubnetIds": self.private_subnet_ids})

    def _make(self, name: str, stack: Stack, key_arn: pulumi.Output[str] | None) -> None:
        child, settings = pulumi.ResourceOptions(parent=self), stack.settings.network
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=settings.cidr,
            # Mount targets of EFS and private endpoints are found by DNS.
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": stack.cluster_name},
            opts=child,
        )
        # Adopting the default group without rules empties it: nothing may use it by accident.
        aws.ec2.DefaultSecurityGroup(name, vpc_id=vpc.id, opts=child)
        FlowLogs(f"{name}-flow-logs", FlowLogsArgs(stack=stack, vpc_id=vpc.id, key_arn=key_arn), child)

        plan = dict(zip(settings.zones, subnets.plan(settings.cidr, len(settings.zones)), strict=True))
        private: dict[str, aws.ec2.Subnet] = {}
        tables: dict[str, aws.ec2.RouteTable] = {}
        ready: list[pulumi.Output[str]] = []
        for zone, cidrs in plan.items():
            key = f"{name}-private-{zone}"
            tags = {"Name": f"{stack.cluster_name}-private-{zone}"}
            private[zone] = aws.ec2.Subnet(
                key,
                vpc_id=vpc.id,
                cidr_block=cidrs.private,
                availability_zone=f"{stack.region}{zone}",
                map_public_ip_on_launch=False,
                tags=tags,
                opts=child,
            )
            # One a zone, even with a single gateway: another way out is then another route, and no subnet's.
            tables[zone] = aws.ec2.RouteTable(key, vpc_id=vpc.id, tags=tags, opts=child)
            ready.append(
                aws.ec2.RouteTableAssociation(
                    key, subnet_id=private[zone].id, route_table_id=tables[zone].id, opts=child
                ).id
            )
        reached = VpcEndpoints(
            name,
            VpcEndpointsArgs(
                stack=stack,
                vpc_id=vpc.id,
                subnet_ids=[each.id for each in private.values()],
                route_table_ids=[each.id for each in tables.values()],
            ),
            child,
        )
        ready += reached.ready
        if settings.gateway_zones:
            gateways = NatGateways(
                name,
                NatGatewaysArgs(
                    stack=stack,
                    vpc_id=vpc.id,
                    public={zone: plan[zone].public for zone in settings.gateway_zones},
                ),
                child,
            )
            ready += [
                aws.ec2.Route(
                    f"{name}-private-{zone}",
                    route_table_id=table.id,
                    destination_cidr_block="0.0.0.0/0",
                    nat_gateway_id=gateways.nearest(zone),
                    opts=child,
                ).id
                for zone, table in tables.items()
            ]

        self.vpc_id = vpc.id
        self.private_subnets = {zone: subnet.id for zone, subnet in private.items()}
        # Published once usable: a node without a way out never joins. And the way out outlives its users.
        self.private_subnet_ids = [
            pulumi.Output.all(subnet.id, *ready).apply(lambda ids: str(ids[0])) for subnet in private.values()
        ]
