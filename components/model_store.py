"""The model cache on EFS: written by Jobs, read by servers, and the file system itself keeps them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.names import name_of
from components.namespaces import DRAINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.cluster import Cluster
    from components.namespaces import Namespaces
    from components.network import Network
    from components.stack import Stack

NFS_PORT = 2049
WRITER_UID = 1000
READER_UID = 1001
"""Directories are the writer's with mode 0755, so EFS refuses whatever another uid tries to write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStoreArgs:
    """What the store is like, and what it is attached to.

    Attributes:
        stack: says zones and protection.
        network: whose private subnets it is reached in.
        cluster: whose nodes may mount it.
        namespaces: where its claims are.
        key_arn: key that it is encrypted with; EFS's own for None.
    """

    stack: Stack
    network: Network
    cluster: Cluster
    namespaces: Namespaces
    key_arn: pulumi.Output[str] | None = None


class ModelStore(pulumi.ComponentResource):
    """One encrypted file system with a claim that can write, for Jobs, and one that cannot, for servers."""

    file_system_id: pulumi.Output[str]
    write_claim: pulumi.Output[str]
    read_claim: pulumi.Output[str]

    def __init__(self, name: str, args: ModelStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:ModelStore", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        settings = args.stack.settings
        files = aws.efs.FileSystem(
            name,
            encrypted=True,
            kms_key_id=args.key_arn,
            performance_mode="generalPurpose",
            # The default, bursting, gives 50 KiB/s for each GiB stored: hours for one model.
            throughput_mode="elastic",
            tags={"Name": name},
            opts=pulumi.ResourceOptions(
                parent=self, protect=settings.protect, retain_on_delete=settings.protect
            ),
        )
        # Deleted after the mount targets, which take it as an input: a group in use cannot be deleted.
        group = aws.ec2.SecurityGroup(
            name, vpc_id=args.network.vpc_id, description="NFS from the nodes to the model store", opts=child
        )
        from_nodes = aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            referenced_security_group_id=args.cluster.security_group_id,
            ip_protocol="tcp",
            from_port=NFS_PORT,
            to_port=NFS_PORT,
            opts=child,
        )
        targets = [
            aws.efs.MountTarget(
                f"{name}-{key}",
                file_system_id=files.id,
                subnet_id=subnet_id,
                security_groups=[group.id],
                opts=child,
            )
            for key, subnet_id in args.network.private_subnets.items()
        ]
        self.file_system_id = files.id
        writer = self._access_point(f"{name}-write", WRITER_UID)
        reader = self._access_point(f"{name}-read", READER_UID)
        policy = aws.efs.FileSystemPolicy(
            name, file_system_id=files.id, policy=_policy(files.arn, reader.arn, writer.arn), opts=child
        )
        # Created after the mount targets: without them the first mount fails on DNS. And after the policy:
        # without it whoever reaches a mount target may do everything.
        mountable = pulumi.ResourceOptions(parent=self, depends_on=[*targets, from_nodes, policy])
        self.write_claim = self._claim(f"{name}-write", writer, args.namespaces.jobs, mountable)
        self.read_claim = self._claim(
            f"{name}-read", reader, args.namespaces.serving, mountable, mount_options=["ro"]
        )
        self.register_outputs(
            {
                "fileSystemId": self.file_system_id,
                "writeClaim": self.write_claim,
                "readClaim": self.read_claim,
            }
        )

    def _access_point(self, name: str, uid: int) -> aws.efs.AccessPoint:
        """A way to the models as a user of its own, whoever mounts it."""
        return aws.efs.AccessPoint(
            name,
            file_system_id=self.file_system_id,
            posix_user={"uid": uid, "gid": uid},
            root_directory={
                "path": "/models",
                "creation_info": {"owner_uid": WRITER_UID, "owner_gid": WRITER_UID, "permissions": "0755"},
            },
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _claim(
        self,
        name: str,
        access: aws.efs.AccessPoint,
        namespace: pulumi.Output[str],
        mountable: pulumi.ResourceOptions,
        *,
        mount_options: Sequence[str] = (),
    ) -> pulumi.Output[str]:
        """A volume over an access point, and the claim on it."""
        volume = kubernetes.core.v1.PersistentVolume(
            name,
            spec={
                # For the claim that cannot write too: the EFS driver knows no ReadOnlyMany.
                "access_modes": ["ReadWriteMany"],
                # A placeholder that Kubernetes asks for; EFS grows by itself.
                "capacity": {"storage": "1Ti"},
                "persistent_volume_reclaim_policy": "Retain",
                "storage_class_name": "",
                "mount_options": list(mount_options),
                "csi": {
                    "driver": "efs.csi.aws.com",
                    "volume_handle": pulumi.Output.concat(self.file_system_id, "::", access.id),
                },
            },
            opts=mountable,
        )
        claim = kubernetes.core.v1.PersistentVolumeClaim(
            name,
            metadata={"namespace": namespace},
            spec={
                "access_modes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "1Ti"}},
                "storage_class_name": "",
                "volume_name": name_of(volume.metadata),
            },
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=DRAINED),
        )
        return name_of(claim.metadata)


def _policy(
    files: pulumi.Input[str], reader: pulumi.Input[str], writer: pulumi.Input[str]
) -> pulumi.Output[str]:
    """Who may do what with the file system, all by ARN: over TLS and one of two access points, or nothing.

    Clients mount without an IAM identity, so the principal is anybody; the network says who reaches it
    (EFS user guide, "Using IAM to control access to file systems").
    """
    mount, write = "elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"

    def allow(sid: str, access: pulumi.Input[str], *actions: str) -> dict[str, object]:
        return {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": list(actions),
            "Resource": files,
            "Condition": {
                "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
                "ArnEquals": {"elasticfilesystem:AccessPointArn": access},
            },
        }

    return pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                allow("Readers", reader, mount),
                allow("Writers", writer, mount, write),
                {
                    "Sid": "OnlyOverTls",
                    "Effect": "Deny",
                    "Principal": {"AWS": "*"},
                    "Action": [mount, write, "elasticfilesystem:ClientRootAccess"],
                    "Resource": files,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        }
    )
