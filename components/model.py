"""One model made ready: the Job that pulls or builds it into the store, and what that Job needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import job_pods, names
from components.encryption import key_use
from components.encryption_key import READ_ACTIONS
from components.namespaces import MODEL_JOBS
from components.network_policies import HTTPS_PORT, egress, to_anywhere
from components.pod_identity import Allow, PodIdentity, PodIdentityArgs
from components.pod_parts import NOT_EVICTED
from runtime.spec import MODEL_ANNOTATION

if TYPE_CHECKING:
    from components import model_section
    from components.platform import Platform
    from runtime.spec import ModelSource

LONGEST_PULL_SECONDS = 3 * 3600
"""A Job that takes longer has failed, one whose pod finds no node too: 40 GB at 4 MB/s take as long."""

AWAIT_SECONDS = LONGEST_PULL_SECONDS + 600
"""How long `pulumi up` waits for the Job: beyond its end, so that it fails with a reason of its own."""

RETRIES = 3
"""After 10, 20 and 40 seconds: enough for AWS to know a role that was just given to the pod's account."""

HTTP_PORT = 80

EVICTIONS_DO_NOT_COUNT = kubernetes.batch.v1.PodFailurePolicyArgs(
    rules=[
        kubernetes.batch.v1.PodFailurePolicyRuleArgs(
            action="Ignore",
            on_pod_conditions=[
                kubernetes.batch.v1.PodFailurePolicyOnPodConditionsPatternArgs(
                    type="DisruptionTarget", status="True"
                )
            ],
        )
    ]
)
"""A pod that its node's drain ended is made again, and goes on where it was.

No exit code ends the Job at once, though `os.EX_DATAERR` says that a retry is in vain: Pulumi's provider
knows a failed Job by the reasons BackoffLimitExceeded and DeadlineExceeded alone (its
`await/checker/job/check.go`), and would wait `AWAIT_SECONDS` for one that failed by PodFailurePolicy.
"""

_LITERAL = {ord(character): f"${{{character}}}" for character in "*?$"}
"""A star in a key is that character, and not a wildcard of the policy (IAM user guide, policy variables)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelArgs:
    """The model, and the platform whose store it goes into."""

    platform: Platform
    model: model_section.Model


class Model(pulumi.ComponentResource):
    """A model that is in the store, whole and checked, once this component is there.

    The Job's name tells the model, its own spec and the file system apart: an unchanged model is never
    pulled again, an edit makes a new Job, and a file system that was lost gets all of its Jobs anew.

    Its pods stay, with their logs, until the Job is replaced: a failed one by the next `pulumi up`. Pulumi
    shows the last lines of each pod that failed, as the await of its provider finds them in the pod's status.
    """

    def __init__(self, name: str, args: ModelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Model", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        spec, namespace = args.model.spec, args.platform.namespaces.jobs
        child_name = f"{name}-model"

        labels = {**MODEL_JOBS, "model": args.model.name}
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
                        allow=(
                            *_reads(objects),
                            *key_use(
                                args.platform.documents.key_arn,
                                READ_ACTIONS,
                                ("s3",),
                                args.platform.stack.region,
                            ),
                        ),
                    ),
                    child,
                )
            )
        port = registry_port(spec.source)
        if port is not None and port != HTTPS_PORT:
            needs.append(
                kubernetes.networking.v1.NetworkPolicy(
                    child_name,
                    metadata={"namespace": namespace},
                    spec=egress(labels, to_anywhere(port)),
                    opts=child,
                )
            )
        config = kubernetes.core.v1.ConfigMap(
            child_name, metadata={"namespace": namespace}, data={"model.json": spec.to_json()}, opts=child
        )
        template = kubernetes.core.v1.PodTemplateSpecArgs(
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                labels=labels, annotations={MODEL_ANNOTATION: spec.hash, **NOT_EVICTED}
            ),
            spec=job_pods.provisioning_pod(
                image=args.platform.image.reference,
                model=spec,
                claim=args.platform.store.write_claim,
                config=names.name_of(config.metadata),
                region=args.platform.stack.region,
                service_account=child_name,
            ),
        )
        job = kubernetes.batch.v1.JobSpecArgs(
            backoff_limit=RETRIES,
            active_deadline_seconds=LONGEST_PULL_SECONDS,
            pod_failure_policy=EVICTIONS_DO_NOT_COUNT,
            template=template,
        )
        # All of it, since Kubernetes changes hardly any of a Job that is there.
        job_name = pulumi.Output.all(args.platform.store.file_system_id, job).apply(
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
            spec=job,
            opts=pulumi.ResourceOptions(
                parent=self,
                # Created after its rights: pods get credentials when they are admitted, never later.
                depends_on=needs,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{AWAIT_SECONDS}s"),
            ),
        )
        self.register_outputs({})


def registry_port(source: ModelSource) -> int | None:
    """The TCP port of the registry that a model or its base is pulled from; None where files are all."""
    pulled = source.pulled
    if pulled is None or pulled.pull_name is None:
        return None
    host, *path = pulled.pull_name.removeprefix("https://").split("/")
    # Of `[host[:port]/][namespace/]model[:tag]`; what is not the host has no port.
    port = urlsplit(f"//{host}").port if path else None
    return port or (HTTP_PORT if pulled.plain_http else HTTPS_PORT)


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
