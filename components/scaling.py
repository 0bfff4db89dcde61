"""How many pods a model has: KEDA's view of its queue, as a pure function of the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.addons import TRIGGER_AUTHENTICATION

if TYPE_CHECKING:
    import pulumi

    from components.model_section import Model
    from components.settings import Settings


def scaled_object(
    model: Model,
    settings: Settings,
    *,
    deployment: pulumi.Input[str],
    queue_url: pulumi.Input[str],
    region: str,
) -> dict[str, pulumi.Input[object]]:
    """The spec of a model's ScaledObject: waiting documents and those in hand decide how many pods there are.

    Args:
        model: whose pods they are.
        settings: the stack's.
        deployment: name of the Deployment that is scaled.
        queue_url: the model's queue.
        region: AWS region of the queue.
    """
    return {
        "scaleTargetRef": {"name": deployment},
        "minReplicaCount": 0,
        "maxReplicaCount": max(1, settings.instances_of(model)),
        "pollingInterval": settings.scaling.poll_seconds,
        "cooldownPeriod": settings.scaling.cooldown_seconds,
        "triggers": [
            {
                "type": "aws-sqs-queue",
                "metadata": {
                    "queueURL": queue_url,
                    "queueLength": str(model.scaling_target),
                    # A pod that works on the last document keeps its place.
                    "scaleOnInFlight": "true",
                    "awsRegion": region,
                },
                "authenticationRef": {
                    "name": TRIGGER_AUTHENTICATION,
                    "kind": "ClusterTriggerAuthentication",
                },
            }
        ],
    }
