"""Where pods run: a small group that is always on, and the model group that starts at zero nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.names import MODEL_POOL, POOL_LABEL, SYSTEM_POOL
from components.pod_identity import managed_policy_arn

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.network import Network
    from components.stack import Stack

NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")

TRUST = """{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",\
"Principal":{"Service":"ec2.amazonaws.com"}}]}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodesArgs:
    """The stack says which instances and how many, the network where, the cluster for whom."""

    stack: Stack
    network: Network
    cluster: Cluster


class Nodes(pulumi.ComponentResource):
    """Two system nodes, and zero to `max_nodes` model nodes that take nothing but model pods."""

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Nodes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        settings = args.stack.settings
        role = aws.iam.Role(name, assume_role_policy=TRUST, opts=child)
        rights: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{policy}", role=role.id, policy_arn=managed_policy_arn(policy, child), opts=child
            )
            for policy in NODE_POLICIES
        ]
        # Deleted before: a node that loses its role's rights cannot leave the cluster cleanly.
        group = pulumi.ResourceOptions(parent=self, depends_on=rights)

        system = self._launch_template(f"{name}-{SYSTEM_POOL}", data_gib=30)
        aws.eks.NodeGroup(
            f"{name}-{SYSTEM_POOL}",
            cluster_name=args.cluster.name,
            node_role_arn=role.arn,
            subnet_ids=args.network.private_subnet_ids,
            ami_type="BOTTLEROCKET_x86_64",
            instance_types=["t3.large"],
            launch_template={"id": system.id, "version": system.latest_version.apply(str)},
            scaling_config={"min_size": 2, "desired_size": 2, "max_size": 3},
            labels={POOL_LABEL: SYSTEM_POOL},
            opts=group,
        )
        # 100 GiB and 600 MiB/s: the server's image is pulled onto this disk at every cold start.
        models = self._launch_template(f"{name}-{MODEL_POOL}", data_gib=100, throughput_mib=600)
        aws.eks.NodeGroup(
            f"{name}-{MODEL_POOL}",
            cluster_name=args.cluster.name,
            node_role_arn=role.arn,
            subnet_ids=args.network.private_subnet_ids,
            # The NVIDIA variant brings the driver and the device plugin.
            ami_type="BOTTLEROCKET_x86_64_NVIDIA" if settings.gpu_count else "BOTTLEROCKET_x86_64",
            instance_types=[settings.instance_type],
            capacity_type=settings.capacity_type.upper().replace("-", "_"),
            launch_template={"id": models.id, "version": models.latest_version.apply(str)},
            scaling_config={"min_size": 0, "desired_size": 0, "max_size": settings.max_nodes},
            labels={POOL_LABEL: MODEL_POOL},
            taints=[{"key": POOL_LABEL, "value": MODEL_POOL, "effect": "NO_SCHEDULE"}],
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=rights,
                # The autoscaler's field. Nested names must be camelCase; snake_case is silently not ignored.
                ignore_changes=["scalingConfig.desiredSize"],
            ),
        )
        self.register_outputs({})

    def _launch_template(
        self, name: str, *, data_gib: int, throughput_mib: int | None = None
    ) -> aws.ec2.LaunchTemplate:
        """Nodes whose pods cannot reach the node's own role, with an encrypted data disk."""
        return aws.ec2.LaunchTemplate(
            name,
            # One hop: the answer of the metadata service does not reach into a pod's network.
            metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
            block_device_mappings=[
                {
                    # Bottlerocket keeps images and container data here; its root disk is fixed and small.
                    "device_name": "/dev/xvdb",
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": data_gib,
                        "throughput": throughput_mib,
                        "iops": 6000 if throughput_mib else None,
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
