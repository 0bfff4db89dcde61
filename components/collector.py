"""Garbage collection of the model store: once a day, a Job that removes models which nothing names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.batch import v1 as batch
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components import job_pods
from components.names import name_of
from components.network_policies import TO_API_SERVER, egress
from runtime.spec import ModelSpec

if TYPE_CHECKING:
    from components.platform import Platform

SCHEDULE = "40 3 * * *"
"""At night, UTC, and not on the hour, when everybody's jobs begin."""

LONGEST_RUN_SECONDS = 3600
"""A run that hangs is ended, since it would keep all later ones from starting."""

LABELS = {"app": "collector"}

STORE: str = ModelSpec.model_fields["store"].default


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectorArgs:
    """The platform whose store is kept small."""

    platform: Platform


class Collector(pulumi.ComponentResource):
    """A CronJob that keeps every model that a Deployment, a ReplicaSet or a Job names, or did until lately.

    It may list these and do nothing else, and it reaches the API server alone. A listing that fails removes
    nothing.
    """

    def __init__(self, name: str, args: CollectorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Collector", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespaces = args.platform.namespaces

        account = kubernetes.core.v1.ServiceAccount(
            name,
            metadata={"name": name, "namespace": namespaces.jobs},
            automount_service_account_token=False,
            opts=child,
        )
        needs: list[pulumi.Resource] = [
            account,
            kubernetes.networking.v1.NetworkPolicy(
                name,
                metadata={"namespace": namespaces.jobs},
                spec=egress(LABELS, TO_API_SERVER),
                opts=child,
            ),
        ]
        lists: list[pulumi.Input[str]] = []
        for half, namespace, group, kinds in (
            ("serving", namespaces.serving, "apps", ("deployments", "replicasets")),
            ("jobs", namespaces.jobs, "batch", ("jobs",)),
        ):
            lists += [
                pulumi.Output.concat(f"apis/{group}/v1/namespaces/", namespace, f"/{kind}") for kind in kinds
            ]
            role = kubernetes.rbac.v1.Role(
                f"{name}-{half}",
                metadata={"namespace": namespace},
                rules=[{"api_groups": [group], "resources": list(kinds), "verbs": ["list"]}],
                opts=child,
            )
            needs.append(
                kubernetes.rbac.v1.RoleBinding(
                    f"{name}-{half}",
                    metadata={"namespace": namespace},
                    role_ref={
                        "api_group": "rbac.authorization.k8s.io",
                        "kind": "Role",
                        "name": name_of(role.metadata),
                    },
                    subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespaces.jobs}],
                    opts=child,
                )
            )
        run = batch.JobSpecArgs(
            active_deadline_seconds=LONGEST_RUN_SECONDS,
            # The next run is the retry.
            backoff_limit=0,
            template=core.PodTemplateSpecArgs(
                metadata=meta.ObjectMetaArgs(labels=LABELS),
                spec=job_pods.collecting_pod(
                    image=args.platform.image.reference,
                    store=STORE,
                    lists=lists,
                    claim=args.platform.store.write_claim,
                    service_account=name,
                ),
            ),
        )
        kubernetes.batch.v1.CronJob(
            name,
            metadata={"namespace": namespaces.jobs},
            spec=batch.CronJobSpecArgs(
                schedule=SCHEDULE,
                concurrency_policy="Forbid",
                job_template=batch.JobTemplateSpecArgs(spec=run),
            ),
            # Created after all that a run needs.
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )
        self.register_outputs({})
