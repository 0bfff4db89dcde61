"""How long AWS and Helm took to make one resource of a type, in public logs of others.

Each is what one log says, for one resource, of a `terraform apply` or a `pulumi up`: no average, and no
promise. Where two logs were found, the longer time counts.
"""

from __future__ import annotations

from dataclasses import dataclass

VPC_LOG = "https://github.com/DevopsArtFactory/terraform-provisioning/pull/7"
IAM_LOG = "https://github.com/turbot/steampipe-plugin-aws/pull/131"
EFS_LOG = "https://github.com/turbot/steampipe-plugin-aws/pull/426"
EVENTS_LOG = "https://github.com/turbot/steampipe-plugin-aws/pull/62"
SECURITY_GROUP_LOG = "https://github.com/aws-ia/terraform-aws-eks-blueprints/pull/1768"


@dataclass(frozen=True, slots=True)
class CreationTime:
    """What a log says of a type.

    Attributes:
        seconds: from the start of the resource's creation to its end.
        source: the log's address.
        note: what the number alone does not say.
    """

    seconds: int
    source: str
    note: str = ""


CREATION_TIMES = {
    "aws:cloudwatch/eventRule:EventRule": CreationTime(3, EVENTS_LOG),
    "aws:cloudwatch/eventTarget:EventTarget": CreationTime(2, EVENTS_LOG),
    "aws:ec2/eip:Eip": CreationTime(1, VPC_LOG),
    "aws:ec2/internetGateway:InternetGateway": CreationTime(1, VPC_LOG),
    "aws:ec2/natGateway:NatGateway": CreationTime(
        171,
        "https://github.com/hashicorp/terraform-provider-aws/pull/47349",
        "at most: a whole acceptance test, its network and the deletion included",
    ),
    "aws:ec2/routeTable:RouteTable": CreationTime(1, VPC_LOG),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": CreationTime(1, SECURITY_GROUP_LOG),
    "aws:ec2/securityGroup:SecurityGroup": CreationTime(2, SECURITY_GROUP_LOG),
    "aws:ec2/subnet:Subnet": CreationTime(7, IAM_LOG),
    "aws:ec2/vpc:Vpc": CreationTime(24, IAM_LOG, "22 s in another"),
    "aws:efs/accessPoint:AccessPoint": CreationTime(
        5, "https://github.com/turbot/steampipe-plugin-aws/pull/174"
    ),
    "aws:efs/fileSystem:FileSystem": CreationTime(12, EFS_LOG),
    "aws:efs/mountTarget:MountTarget": CreationTime(60, EFS_LOG, "at least: it was still being made"),
    "aws:eks/addon:Addon": CreationTime(
        20,
        "https://github.com/terraform-aws-modules/terraform-aws-eks/pull/3214",
        "up to 3 min more right after the cluster: its API for add-ons is ready later",
    ),
    "aws:eks/nodeGroup:NodeGroup": CreationTime(
        119, "https://github.com/DevopsArtFactory/terraform-provisioning/pull/46", "108 s in another"
    ),
    "aws:iam/role:Role": CreationTime(7, IAM_LOG),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": CreationTime(4, IAM_LOG),
    "eks:index:Cluster": CreationTime(
        614,
        "https://github.com/terraform-aws-modules/terraform-aws-eks/pull/3218",
        "606 s there, 513 s in another; 8 s for its role: https://github.com/pulumi/pulumi-eks/issues/1819",
    ),
    "kubernetes:helm.sh/v3:Release": CreationTime(
        54, "https://github.com/commitdev/zero-aws-eks-stack/issues/35", "a chart with one Deployment"
    ),
}
