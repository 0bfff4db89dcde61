"""One model made ready: the Job that pulls or builds it into the store, and what that Job needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import names, pods
from components.pod_identity import Allow, PodIdentity, PodIdentityArgs

if TYPE_CHECKING:
    from components import model_section
    from components.platform import Platform

LONGEST_PULL = "3h"
"""How long `pulumi up` waits for the Job; the provider's own 10 minutes are too short for a 40 GB model."""

_LITERAL = {ord(character): f"${{{character}}}" for character in "*?$"}
"""A star in a key is that character, and not a wildcard of the policy (IAM user guide, policy variables)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelArgs:
    """The model, and the platform whose store it goes into."""

    platform: Platform
    model: model_section.Model


class Model(pulumi.ComponentResource):
    """A model that is in the store, whole and checked, once this component is there.

    The Job's name tells the model, its own template and the file system apart: an unchanged model is never
    pulled again, an edit makes a new Job, and a file system that was lost gets all of its Jobs anew.
    """

    def __init__(self, name: str, args: ModelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Model", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        spec, namespace = args.model.spec, args.platform.namespaces.jobs
        child_name = f"{name}-model"

        account = kubernetes.core.v1.ServiceAccount(
            child_name,
            metadata={"name": child_name, "namespace": namespace},
            automount_service_account_token=False,
            opts=child,
        )
        objects = spec.source.s3_objects
        needs: list[pulumi.Resource] = [account]
        if objects:
            needs.append(
                PodIdentity(
                    child_name,
                    PodIdentityArgs(
                        cluster_name=args.platform.cluster.name,
                        namespace=namespace,
                        service_account=child_name,
                        allow=_reads(objects),
                    ),
                    child,
                )
            )
        config = kubernetes.core.v1.ConfigMap(
            child_name, metadata={"namespace": namespace}, data={"model.json": spec.to_json()}, opts=child
        )
        template = kubernetes.core.v1.PodTemplateSpecArgs(
            metadata=kubernetes.meta.v1.ObjectMetaArgs(labels={"app": "model", "model": args.model.name}),
            spec=pods.provisioning_pod(
                image=args.platform.stack.settings.image,
                model=spec,
                claim=args.platform.store.write_claim,
                config=config.metadata.apply(lambda metadata: str(metadata.name)),
                region=args.platform.stack.region,
                service_account=child_name,
            ),
        )
        job_name = pulumi.Output.all(args.platform.store.file_system_id, template).apply(
            lambda parts: names.model_job(
                args.model.name, spec.hash, str(parts[0]), json.dumps(parts[1], default=vars, sort_keys=True)
            )
        )
        kubernetes.batch.v1.Job(
            child_name,
            metadata={
                "namespace": namespace,
                "name": job_name,
                # A Job that failed stays failed: the next `up` is to make a new one, not to wait for it.
                "annotations": {"pulumi.com/replaceUnready": "true"},
            },
            # No time to live: a Job that vanished would be drift, and would run again at the next `up`.
            spec=kubernetes.batch.v1.JobSpecArgs(backoff_limit=4, template=template),
            opts=pulumi.ResourceOptions(
                parent=self,
                # Created after its rights: pods get credentials when they are admitted, never later.
                depends_on=needs,
                custom_timeouts=pulumi.CustomTimeouts(create=LONGEST_PULL),
            ),
        )
        self.register_outputs({})


def _reads(objects: tuple[str, ...]) -> tuple[Allow, ...]:
    """The rights to read each `s3://bucket/key`, and to list and read what is below a `s3://bucket/key/`."""
    partition = aws.get_partition_output().partition
    listed: list[Allow] = []
    arns: list[pulumi.Output[str]] = []
    for url in objects:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        resource = f"{bucket}/{key.translate(_LITERAL)}"
        if key.endswith("/"):
            resource += "*"
            arn = pulumi.Output.format("arn:{0}:s3:::{1}", partition, bucket)
            listed.append(
                Allow(
                    actions=("s3:ListBucket",),
                    resources=(arn,),
                    only_if={"s3:prefix": key.replace("$", "${$}")},
                )
            )
        arns.append(pulumi.Output.format("arn:{0}:s3:::{1}", partition, resource))
    return (Allow(actions=("s3:GetObject",), resources=tuple(arns)), *listed)
