"""Roads to AWS that leave the VPC's subnets for nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.endpoints import ENDPOINTS, own_identities, s3_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.stack import Stack

HTTPS_PORT = 443


@dataclass(frozen=True, kw_only=True, slots=True)
class VpcEndpointsArgs:
    """The VPC, its private subnets and their route tables; the stack says whether there is another way."""

    stack: Stack
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    route_table_ids: Sequence[pulumi.Input[str]]


class VpcEndpoints(pulumi.ComponentResource):
    """S3 by a gateway, which costs nothing; where there is no other way out, all else by private addresses.

    Attributes:
        ready: ids of all that has to be there before a node can reach AWS.
    """

    ready: Sequence[pulumi.Output[str]]

    def __init__(self, name: str, args: VpcEndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:VpcEndpoints", name, None, opts)
        region, sealed = args.stack.region, args.stack.settings.network.egress == "endpoints"
        invoke = pulumi.InvokeOutputOptions(parent=self)
        account = aws.get_caller_identity_output(opts=invoke).account_id
        partition = aws.get_partition_output(opts=invoke).partition

        s3 = aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=args.vpc_id,
            vpc_endpoint_type="Gateway",
            service_name=f"com.amazonaws.{region}.s3",
            route_table_ids=args.route_table_ids,
            # Beside an open way out a policy keeps nothing in: it keeps registries out that lie in S3.
            policy=pulumi.Output.all(account, partition).apply(
                lambda own: s3_policy(str(own[0]), str(own[1]), region)
            )
            if sealed
            else None,
            tags={"Name": f"{args.stack.cluster_name}-s3"},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = [s3.id]
        if sealed:
            self.ready += self._interfaces(name, args, account.apply(own_identities))
        self.register_outputs({"ready": self.ready})

    def _interfaces(
        self, name: str, args: VpcEndpointsArgs, guard: pulumi.Output[str]
    ) -> list[pulumi.Output[str]]:
        """The interface endpoints, and the rule that lets the VPC reach them."""
        child, called = pulumi.ResourceOptions(parent=self), args.stack.cluster_name
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            vpc_id=args.vpc_id,
            description="HTTPS from the VPC to endpoints of AWS services",
            tags={"Name": f"{called}-endpoints"},
            opts=child,
        )
        # By range: the nodes' own group comes with the cluster, and these have to be there before its nodes.
        from_vpc = aws.vpc.SecurityGroupIngressRule(
            f"{name}-endpoints",
            security_group_id=group.id,
            cidr_ipv4=args.stack.settings.network.cidr,
            ip_protocol="tcp",
            from_port=HTTPS_PORT,
            to_port=HTTPS_PORT,
            opts=child,
        )
        interfaces = [
            aws.ec2.VpcEndpoint(
                f"{name}-{endpoint.service.replace('.', '-')}",
                vpc_id=args.vpc_id,
                vpc_endpoint_type="Interface",
                service_name=f"com.amazonaws.{args.stack.region}.{endpoint.service}",
                subnet_ids=args.subnet_ids,
                security_group_ids=[group.id],
                # The service's usual name resolves to the endpoint: nobody has to be told.
                private_dns_enabled=True,
                policy=guard if endpoint.guarded else None,
                tags={"Name": f"{called}-{endpoint.service}"},
                opts=child,
            )
            for endpoint in ENDPOINTS
        ]
        return [from_vpc.id, *(each.id for each in interfaces)]
