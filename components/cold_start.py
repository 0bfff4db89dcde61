"""How long a pod takes to come where there is no node, and what a stack's config makes of it. Pure.

Nobody has measured this program on AWS: the estimate is the sum of what is published of its parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from components.model_section import Model
    from components.settings import Settings


class Part(NamedTuple):
    """A step of a cold start, its seconds, and whether only pods with GPUs take it."""

    what: str
    seconds: int
    gpu: bool = False


PARTS = (
    # Cluster Autoscaler 1.35.2: --scan-interval, and unschedulablePodWithGpuTimeBuffer.
    Part("the autoscaler's scan", 10),
    Part("its wait for more pods with GPUs", 30, gpu=True),
    # awslabs/data-on-eks, measured on 10 July 2026: a g6e.2xlarge, an image of 11.6 GB, weights of 15 GiB.
    Part("the node", 40),
    Part("its GPUs", 36, gpu=True),
    Part("the image", 121),
    Part("the weights", 18),
)
"""Beyond KEDA's poll, which the config says."""


def parts(model: Model, settings: Settings) -> tuple[Part, ...]:
    """The steps of one model's cold start."""
    poll = Part("KEDA's poll", settings.scaling_of(model).poll_seconds)
    return (poll, *(part for part in PARTS if settings.gpus_of(model) or not part.gpu))


def warnings(settings: Settings) -> tuple[str, ...]:
    """A sentence for each cool-down that is shorter than the cold start that it saves, by its place.

    Models that are paused or never go to zero have none.
    """
    said: dict[str, None] = {}
    for at, model in enumerate(settings.models):
        cooldown = settings.scaling_of(model).cooldown_seconds
        steps = parts(model, settings)
        estimate = sum(step.seconds for step in steps)
        if cooldown >= estimate or model.min_instances or not settings.instances_of(model):
            continue
        model_key = "" if model.scaling.cooldown_seconds is None else f"models[{at}]."
        arithmetic = " + ".join(f"{step.what} {step.seconds}" for step in steps)
        said[
            f"{model_key}scaling.cooldownSeconds: given {cooldown}: is under the {estimate} s that a cold "
            f"start is estimated to take ({arithmetic}): pods go sooner than they come back; use at least "
            f"{estimate}"
        ] = None
    return tuple(said)
