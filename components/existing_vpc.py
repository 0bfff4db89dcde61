"""A VPC that exists: looked at before anything is put into it, and left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.problems import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.sections import ExistingVpc

LEAST_FREE_ADDRESSES = 6
"""In each subnet that EKS gets (EKS user guide, "Networking requirements")."""


def require_usable(existing: ExistingVpc, parent: pulumi.Resource) -> None:
    """Asks AWS about the VPC and its subnets, in a preview too.

    Raises:
        pulumi.RunError: with everything about them that would not work.
    """
    opts = pulumi.InvokeOptions(parent=parent)
    found = aws.ec2.get_subnets(
        filters=[
            {"name": "vpc-id", "values": [existing.vpc_id]},
            {"name": "subnet-id", "values": list(existing.subnet_ids)},
        ],
        opts=opts,
    ).ids
    problems = [
        f"{each}: is no subnet of {existing.vpc_id} in this account and region"
        for each in existing.subnet_ids
        if each not in found
    ]
    # Asking for a VPC or a subnet that is not there would end it all with the provider's own error.
    if found:
        problems += _of_vpc(existing.vpc_id, aws.ec2.get_vpc(id=existing.vpc_id, opts=opts))
    problems += _of_subnets(
        {each: aws.ec2.get_subnet(id=each, opts=opts) for each in existing.subnet_ids if each in found}
    )
    if problems:
        raise pulumi.RunError(str(SettingsError([f"network.existing: {each}" for each in problems])))


def _of_vpc(name: str, vpc: aws.ec2.GetVpcResult) -> Iterator[str]:
    for what, enabled in (("support", vpc.enable_dns_support), ("hostnames", vpc.enable_dns_hostnames)):
        if not enabled:
            yield f"{name}: has no DNS {what}; switch it on, nodes find control plane and file system by it"


def _of_subnets(subnets: dict[str, aws.ec2.GetSubnetResult]) -> Iterator[str]:
    zones: dict[str, str] = {}
    for name, subnet in subnets.items():
        other = zones.setdefault(subnet.availability_zone, name)
        if other != name:
            yield (
                f"{name}: lies in {subnet.availability_zone}, as {other} does; name one subnet a zone, "
                "since a file system has one mount target there"
            )
        if subnet.map_public_ip_on_launch:
            yield f"{name}: gives public addresses to what starts in it; name a private subnet"
        free = subnet.available_ip_address_count
        if free < LEAST_FREE_ADDRESSES:
            yield f"{name}: has {free} free addresses; EKS needs {LEAST_FREE_ADDRESSES}, and pods more"
