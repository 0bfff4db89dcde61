"""KEDA: the queues' length decides how many pods there are, zero included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components import account
from components.names import POOL_LABEL, SYSTEM_POOL, name_of
from components.pod_identity import Allow, PodIdentity, PodIdentityArgs
from components.versions import KEDA_CHART, KEDA_REPOSITORY

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.model_queue import ModelQueue
    from components.namespaces import Namespaces
    from components.stack import Stack

KEDA_NAMESPACE = "keda"
KEDA_SERVICE_ACCOUNT = "keda-operator"
"""Both are the chart's own names."""

TRIGGER_AUTHENTICATION = "aws-pod-identity"
"""How ScaledObjects refer to KEDA's own rights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KedaArgs:
    """The cluster that gets it, the namespaces, of which it scales one, and the queues that it measures."""

    stack: Stack
    cluster: Cluster
    namespaces: Namespaces
    queues: tuple[ModelQueue, ...]


class Keda(pulumi.ComponentResource):
    """KEDA on the system nodes: it scales what is in the serving namespace and has no rights in another."""

    def __init__(self, name: str, args: KedaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Keda", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        rights = PodIdentity(
            name,
            PodIdentityArgs(
                cluster_name=args.cluster.name,
                namespace=KEDA_NAMESPACE,
                service_account=KEDA_SERVICE_ACCOUNT,
                allow=(
                    Allow(
                        actions=("sqs:GetQueueAttributes",),
                        resources=tuple(queue.arn for queue in args.queues),
                    ),
                ),
            ),
            child,
        )
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={
                "name": KEDA_NAMESPACE,
                # The chart's pods keep to it.
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
            opts=child,
        )
        release = kubernetes.helm.v3.Release(
            name,
            name="keda",
            chart="keda",
            version=KEDA_CHART,
            namespace=name_of(namespace.metadata),
            repository_opts={"repo": KEDA_REPOSITORY},
            values=_values(args.namespaces.serving, account.registry("ghcr.io", args.stack, child)),
            # Created after its rights: pods get credentials when they are admitted, never later.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
        kubernetes.apiextensions.CustomResource(
            name,
            api_version="keda.sh/v1alpha1",
            kind="ClusterTriggerAuthentication",
            metadata={"name": TRIGGER_AUTHENTICATION},
            spec={"podIdentity": {"provider": "aws"}},
            # Deleted before KEDA: its finaliser needs the operator.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[release]),
        )
        self.register_outputs({})


def _values(serving: pulumi.Input[str], registry: pulumi.Input[str]) -> dict[str, pulumi.Input[object]]:
    """What differs from the chart's own values; its security contexts are what `restricted` asks for.

    Its HTTP timeout is for scalers that use KEDA's client; the one of SQS has AWS's own.
    """
    return {
        "image": {
            **{
                program: {"registry": registry, "repository": f"kedacore/{repository}", "tag": KEDA_CHART}
                for program, repository in (
                    ("keda", "keda"),
                    ("metricsApiServer", "keda-metrics-apiserver"),
                    ("webhooks", "keda-admission-webhooks"),
                )
            },
            # A restart does not need the registry.
            "pullPolicy": "IfNotPresent",
        },
        # Its rights then end at this namespace and its own; to make Jobs is one of them.
        "watchNamespace": serving,
        # By default it may read every object, Secrets too, since any kind could be what it scales.
        "rbac": {"enabledCustomScaledRefKinds": False},
        # No trigger here needs a Secret.
        "permissions": {
            "operator": {"restrict": {"secret": True}},
            "metricServer": {"restrict": {"secret": True}},
        },
        "nodeSelector": {POOL_LABEL: SYSTEM_POOL},
        # A Job on a full system node does not push it off.
        "priorityClassName": "system-cluster-critical",
        # Requests above what each holds with few objects (112, 97 and 42 MiB of 2.20.2 were measured).
        "resources": {
            program: {
                "requests": {"cpu": "50m", "memory": request},
                "limits": {"memory": limit},
            }
            for program, request, limit in (
                ("operator", "128Mi", "512Mi"),
                ("metricServer", "128Mi", "512Mi"),
                ("webhooks", "64Mi", "256Mi"),
            )
        },
        # `Fail` would keep the operator from taking its finaliser off while the webhooks are down or gone.
        "webhooks": {"failurePolicy": "Ignore"},
    }
