"""Where pods run: a small group that is always on, and a group of model nodes for each instance type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.autoscaler_tags import PREFIX, autoscaler_tags
from components.names import POOL_LABEL, SYSTEM_POOL
from components.pod_identity import managed_policy_arn

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.network import Network
    from components.node_addons import NodeAddons
    from components.pools import Pool
    from components.stack import Stack

NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")

MODEL_DISK_GIB = 100
MODEL_DISK_MIB_PER_SECOND = 600
"""The server's image is pulled onto this disk at every cold start."""

MOST_SYSTEM_NODES = 3

MOST_NODES = 450
"""Of a pool, and EKS's own (EKS user guide, "Service quotas"). Not the models' ceiling, which may be lowered:
EKS refuses a size under the number of nodes that there are, and the edit would fail before KEDA hears of it.
KEDA bounds the pods, and the autoscaler all nodes together."""

TRUST = """{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",\
"Principal":{"Service":"ec2.amazonaws.com"}}]}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodesArgs:
    """The stack says which instances and how many, the network where, the cluster for whom.

    Attributes:
        node_addons: what a node needs to become ready.
        key_arn: key that disks are encrypted with; EBS's own for None.
    """

    stack: Stack
    network: Network
    cluster: Cluster
    node_addons: NodeAddons
    key_arn: pulumi.Output[str] | None = None


class Nodes(pulumi.ComponentResource):
    """Two or three system nodes, and of each pool zero or more nodes that take nothing but its models' pods.

    Attributes:
        scaling_groups: name of each pool's Auto Scaling group, by instance type.
    """

    scaling_groups: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Nodes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        role = aws.iam.Role(name, assume_role_policy=TRUST, opts=child)
        rights: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{policy}", role=role.id, policy_arn=managed_policy_arn(policy, child), opts=child
            )
            for policy in NODE_POLICIES
        ]
        in_order = pulumi.ResourceOptions(
            parent=self,
            # Created after: a node without a CNI never becomes ready. Deleted before: one that loses it, or
            # its role's rights, never leaves.
            depends_on=[*rights, args.node_addons],
            # The autoscaler's field. Nested names must be camelCase; snake_case is silently not ignored.
            ignore_changes=["scalingConfig.desiredSize"],
        )
        system = self._launch_template(f"{name}-{SYSTEM_POOL}", args.key_arn, data_gib=30)
        aws.eks.NodeGroup(
            f"{name}-{SYSTEM_POOL}",
            cluster_name=args.cluster.name,
            version=args.stack.settings.kubernetes_version,
            node_role_arn=role.arn,
            subnet_ids=args.network.private_subnet_ids,
            ami_type="BOTTLEROCKET_x86_64",
            instance_types=["t3.large"],
            launch_template={"id": system.id, "version": system.latest_version.apply(str)},
            scaling_config={"min_size": 2, "desired_size": 2, "max_size": MOST_SYSTEM_NODES},
            labels={POOL_LABEL: SYSTEM_POOL},
            opts=in_order,
        )
        self.scaling_groups = {
            pool.instance_type: self._pool(f"{name}-{pool.key}", pool, args, role, in_order)
            for pool in args.stack.settings.pools
        }
        self.register_outputs({"scalingGroups": self.scaling_groups})

    def _pool(
        self, name: str, pool: Pool, args: NodesArgs, role: aws.iam.Role, opts: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        """The node group of one pool, and the tags that let it start from zero nodes."""
        template = self._launch_template(
            name, args.key_arn, data_gib=MODEL_DISK_GIB, throughput_mib=MODEL_DISK_MIB_PER_SECOND
        )
        group = aws.eks.NodeGroup(
            name,
            cluster_name=args.cluster.name,
            version=args.stack.settings.kubernetes_version,
            node_role_arn=role.arn,
            subnet_ids=args.network.private_subnet_ids,
            # The NVIDIA variant brings the driver and the device plugin.
            ami_type="BOTTLEROCKET_x86_64_NVIDIA" if pool.instance.gpus else "BOTTLEROCKET_x86_64",
            instance_types=[pool.instance_type],
            capacity_type=args.stack.settings.capacity_type.upper().replace("-", "_"),
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            scaling_config={"min_size": 0, "desired_size": 0, "max_size": MOST_NODES},
            labels=pool.labels,
            taints=[{"key": POOL_LABEL, "value": pool.instance_type, "effect": "NO_SCHEDULE"}],
            opts=opts,
        )
        scaling_group = group.resources[0].autoscaling_groups[0].name
        for tag, value in autoscaler_tags(pool, disk_gib=MODEL_DISK_GIB).items():
            aws.autoscaling.Tag(
                f"{name}-{tag.replace('/', '-').replace('.', '-')}",
                autoscaling_group_name=scaling_group,
                # The autoscaler reads the group's tags alone.
                tag={"key": f"{PREFIX}{tag}", "value": value, "propagate_at_launch": False},
                opts=pulumi.ResourceOptions(parent=self),
            )
        return scaling_group

    def _launch_template(
        self,
        name: str,
        key_arn: pulumi.Output[str] | None,
        *,
        data_gib: int,
        throughput_mib: int | None = None,
    ) -> aws.ec2.LaunchTemplate:
        """Nodes whose pods cannot reach the node's own role, with an encrypted data disk."""
        return aws.ec2.LaunchTemplate(
            name,
            # One hop: the answer of the metadata service does not reach into a pod's network.
            metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
            block_device_mappings=[
                {
                    # The root disk: read-only, and the same in every Bottlerocket; encrypted all the same.
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "kms_key_id": key_arn,
                        "delete_on_termination": "true",
                    },
                },
                {
                    # Bottlerocket keeps images and container data here; its root disk is fixed and small.
                    "device_name": "/dev/xvdb",
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": data_gib,
                        "throughput": throughput_mib,
                        "iops": 6000 if throughput_mib else None,
                        "encrypted": "true",
                        "kms_key_id": key_arn,
                        "delete_on_termination": "true",
                    },
                },
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
