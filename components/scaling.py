"""How many pods a model has: what KEDA is told of it, as pure functions of the config.

`docs/scaling.md` says what comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.keda import TRIGGER_AUTHENTICATION

if TYPE_CHECKING:
    import pulumi

    from components.model_section import Model
    from components.sections import Window
    from components.settings import Settings

SCALE_UP_PERIOD_SECONDS = 15
"""How often Kubernetes looks (kube-controller-manager, `--horizontal-pod-autoscaler-sync-period`)."""


def annotations_of(model: Model, settings: Settings) -> dict[str, str]:
    """Those of a model's ScaledObject: a model of no pods is paused, since KEDA takes no maximum of 0."""
    return {} if settings.instances_of(model) else {"autoscaling.keda.sh/paused-replicas": "0"}


def scaled_object(
    model: Model,
    settings: Settings,
    *,
    deployment: pulumi.Input[str],
    queue_url: pulumi.Input[str],
    region: str,
) -> dict[str, pulumi.Input[object]]:
    """The spec of a model's ScaledObject: waiting documents and those in hand decide how many pods there are.

    A paused model is told nothing that could start a pod but its queue, which KEDA asks for as a trigger.

    Args:
        model: whose pods they are.
        settings: the stack's.
        deployment: name of the Deployment that is scaled.
        queue_url: the model's queue.
        region: AWS region of the queue.
    """
    follows, ceiling = settings.scaling_of(model), settings.instances_of(model)
    queue = {
        "type": "aws-sqs-queue",
        "metadata": {
            "queueURL": queue_url,
            "queueLength": str(model.scaling_target),
            # A pod that works on the last document keeps its place.
            "scaleOnInFlight": "true",
            "awsRegion": region,
        },
        "authenticationRef": {"name": TRIGGER_AUTHENTICATION, "kind": "ClusterTriggerAuthentication"},
    }
    floor = model.min_instances if ceiling else 0
    # KEDA's own part, to one pod and back to none; it warns of these where there is always a pod.
    sleeping: dict[str, pulumi.Input[object]] = (
        {} if floor else {"pollingInterval": follows.poll_seconds, "cooldownPeriod": follows.cooldown_seconds}
    )
    return {
        "scaleTargetRef": {"name": deployment},
        "minReplicaCount": floor,
        "maxReplicaCount": max(1, ceiling),
        **sleeping,
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": _behavior(max(1, ceiling), follows.scale_down_period_seconds)
            }
        },
        "triggers": [queue, *(_cron(window) for window in model.schedule if ceiling)],
    }


def _behavior(ceiling: int, down_seconds: int) -> dict[str, object]:
    """Between one pod and the ceiling: up at once, and down one pod at a time."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": ceiling, "periodSeconds": SCALE_UP_PERIOD_SECONDS}],
        },
        "scaleDown": {
            # As long: a count that is wrong for a moment stops nobody's work. By default it is the minute
            # after which SQS promises no more than that its counts may be right (GetQueueAttributes).
            "stabilizationWindowSeconds": down_seconds,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": down_seconds}],
        },
    }


def _cron(window: Window) -> dict[str, object]:
    """A trigger that asks for so many pods while its next end comes before its next start."""
    return {
        "type": "cron",
        "metadata": {
            "timezone": window.timezone,
            "start": window.start,
            "end": window.end,
            "desiredReplicas": str(window.instances),
        },
    }
