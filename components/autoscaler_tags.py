"""What the Cluster Autoscaler has to be told of a pool that has no node to look at. Pure.

It makes up the node that would come from the instance type and from these tags of the Auto Scaling group
(cluster-autoscaler 1.35.2, cloudprovider/aws: README.md, aws_manager.go). A node group's own tags do not get
there; those by which the autoscaler finds the group are put there by EKS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.names import POOL_LABEL

if TYPE_CHECKING:
    from components.pools import Pool

PREFIX = "k8s.io/cluster-autoscaler/node-template/"

UNNEEDED_TIME = "2m"
"""How long a node is empty before it goes. The autoscaler's own are ten minutes; KEDA has waited already."""

EVICTION_SHARE = 0.1
"""Of the disk, what the kubelet keeps free (Kubernetes: node-pressure eviction: `nodefs.available`)."""


def autoscaler_tags(pool: Pool, *, disk_gib: int) -> dict[str, str]:
    """Tags of a pool's Auto Scaling group, without `PREFIX`.

    Args:
        pool: the pool.
        disk_gib: the data disk of its nodes, which no instance type tells.
    """
    resources = {"ephemeral-storage": f"{int(disk_gib * (1 - EVICTION_SHARE))}Gi"}
    if pool.instance.gpus:
        resources["nvidia.com/gpu"] = str(pool.instance.gpus)
    return {
        **{f"label/{label}": value for label, value in pool.labels.items()},
        f"taint/{POOL_LABEL}": f"{pool.instance_type}:NoSchedule",
        **{f"resources/{resource}": amount for resource, amount in resources.items()},
        "autoscaling-options/scaledownunneededtime": UNNEEDED_TIME,
    }
