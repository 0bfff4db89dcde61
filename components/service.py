"""One model served: pods for its documents, as many as its queue asks for, and none while it is empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components import pods, scaling, worker
from components.encryption import key_use
from components.encryption_key import WRITE_ACTIONS
from components.model_queue import VISIBILITY_SECONDS
from components.names import name_of
from components.namespaces import DRAINED
from components.pod_identity import Allow, PodIdentity, PodIdentityArgs
from runtime.spec import METRICS_NAMESPACE, TaskSpec

if TYPE_CHECKING:
    from components import model_section
    from components.model import Model
    from components.model_queue import ModelQueue
    from components.platform import Platform

HEALTH_PORT = 8080


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceArgs:
    """The model, its queue, and the model in the store, which a new pod template waits for."""

    platform: Platform
    model: model_section.Model
    queue: ModelQueue
    ready: Model


class Service(pulumi.ComponentResource):
    """A Deployment of zero pods, and the ScaledObject that raises it while documents wait or are in hand."""

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Service", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        model, namespace = args.model.name, args.platform.namespaces.serving
        settings = args.platform.stack.settings
        image = args.platform.image.reference

        account = kubernetes.core.v1.ServiceAccount(
            name,
            metadata={"name": model, "namespace": namespace},
            automount_service_account_token=False,
            opts=child,
        )
        rights = PodIdentity(
            name,
            PodIdentityArgs(
                cluster_name=args.platform.cluster.name,
                namespace=namespace,
                service_account=model,
                allow=_rights(args),
            ),
            child,
        )
        config = kubernetes.core.v1.ConfigMap(
            name,
            metadata={"namespace": namespace},
            data={"model.json": args.model.spec.to_json(), "task.json": _task(args)},
            opts=child,
        )
        serving = pods.Serving(
            model=args.model.spec,
            image=image,
            claim=args.platform.store.read_claim,
            config=name_of(config.metadata),
            parallel=args.model.parallel,
            context_tokens=args.model.options.num_ctx,
            settings=args.model.server,
            pool=settings.instance_type_of(args.model),
            gpus=settings.gpus_of(args.model),
            memory_mib=settings.memory_mib_of(args.model),
            health_port=HEALTH_PORT,
        )
        pod = pods.serving_pod(
            serving,
            worker.container(image=image, region=args.platform.stack.region, health_port=HEALTH_PORT),
            volumes=worker.volumes(),
            service_account=model,
            grace_seconds=settings.grace_seconds_of(args.model),
            priority_class=args.platform.pod_rules.priority_class,
        )
        labels = {"app": "service", "model": model}
        deployment = kubernetes.apps.v1.Deployment(
            name,
            metadata={
                "name": model,
                "namespace": namespace,
                # A rollout may need a GPU node that takes minutes to come; at zero pods there is none. Not by
                # skipAwait: a delete would not wait for the pods either (pulumi-kubernetes#3154).
                "annotations": {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"},
            },
            spec=apps.DeploymentSpecArgs(
                replicas=0,
                selector=meta.LabelSelectorArgs(match_labels=labels),
                # A surge pod would need a GPU beyond the group's ceiling.
                strategy=apps.DeploymentStrategyArgs(type="Recreate"),
                # An old template cannot be gone back to by hand: its ConfigMap has gone with it.
                revision_history_limit=0,
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(
                        labels=labels, annotations=pods.serving_annotations(serving)
                    ),
                    spec=pod,
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                # Created after: pods get credentials when they are admitted; a new template after its model;
                # what a pod may do to itself, before there is one.
                depends_on=[account, rights, args.ready, args.platform.pod_rules],
                # KEDA's field, from its creation on.
                ignore_changes=["spec.replicas"],
                custom_timeouts=DRAINED,
            ),
        )
        kubernetes.apiextensions.CustomResource(
            name,
            api_version="keda.sh/v1alpha1",
            kind="ScaledObject",
            metadata={
                "name": model,
                "namespace": namespace,
                # None for none: no empty map is equal to what is stored, so each apply would be a change.
                "annotations": scaling.annotations_of(args.model, settings) or None,
            },
            spec=scaling.scaled_object(
                args.model,
                settings,
                deployment=name_of(deployment.metadata),
                queue_url=args.queue.url,
                region=args.platform.stack.region,
            ),
            # Deleted before its target and before KEDA: its finaliser needs both.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment, args.platform.keda]),
        )
        self.register_outputs({})


def _task(args: ServiceArgs) -> pulumi.Output[str]:
    """The spec of the model's worker, as JSON."""
    model = args.model
    return pulumi.Output.all(
        queue_url=args.queue.url,
        dead_letter_url=args.queue.dead_letter_url,
        documents_bucket=args.platform.documents.documents.bucket,
        results_bucket=args.platform.documents.results.bucket,
    ).apply(
        lambda places: TaskSpec(
            name=model.name,
            model=args.model.spec,
            prompt=model.prompt,
            system=model.system,
            options=model.options,
            think=model.think,
            output_schema=model.output.schema_,
            task=model.task,
            long_documents=model.long_documents,
            accepts=model.accepts,
            gpus=args.platform.stack.settings.gpus_of(model),
            parallel=model.parallel,
            time_limit_seconds=model.time_limit,
            attempts=model.attempts,
            max_instances=args.platform.stack.settings.instances_of(model),
            visibility_seconds=VISIBILITY_SECONDS,
            grace_seconds=args.platform.stack.settings.grace_seconds_of(model),
            health_port=HEALTH_PORT,
            after=model.after,
            **places,
        ).to_json()
    )


def _rights(args: ServiceArgs) -> tuple[Allow, ...]:
    """What a worker may do: its own documents in, its own results and records out, its own queue."""
    buckets, after = args.platform.documents, args.model.after
    source, results = (buckets.results if after else buckets.documents).arn, buckets.results.arn
    model = args.model.name
    own_results = pulumi.Output.concat(results, f"/{model}/*")
    own_records = pulumi.Output.concat(results, f"/records/{model}/*")
    return (
        Allow(
            actions=("s3:GetObject", "s3:GetObjectVersion"),
            resources=(pulumi.Output.concat(source, f"/{after or model}/*"),),
        ),
        Allow(actions=("s3:GetObject",), resources=(own_results, own_records)),
        # Only where none is: S3 itself refuses a request that would write over a result.
        Allow(actions=("s3:PutObject",), resources=(own_results,), only_with=("s3:if-none-match",)),
        # A record is begun before its attempt and ended after it.
        Allow(actions=("s3:PutObject",), resources=(own_records,)),
        # Listing tells a missing object from a forbidden one, and finds earlier attempts.
        Allow(actions=("s3:ListBucket",), resources=(results,) if after else (source, results)),
        *key_use(buckets.key_arn, WRITE_ACTIONS, ("s3", "sqs"), args.platform.stack.region),
        Allow(
            actions=(
                "sqs:ReceiveMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                # Its depth decides whether a document is taken ahead.
                "sqs:GetQueueAttributes",
                # A message of several documents is replaced by one for each.
                "sqs:SendMessage",
            ),
            resources=(args.queue.arn,),
        ),
        Allow(actions=("sqs:SendMessage",), resources=(args.queue.dead_letter_arn,)),
        Allow(
            actions=("cloudwatch:PutMetricData",),
            # The action knows no resources (service authorization reference, CloudWatch).
            resources=("*",),
            only_if={"cloudwatch:namespace": METRICS_NAMESPACE},
        ),
        Allow(
            actions=("events:PutEvents",),
            resources=(aws.cloudwatch.get_event_bus_output(name="default").arn,),
        ),
    )
