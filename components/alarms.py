"""When something is wrong: each alarm as a pure function of the config. `docs/watch.md` says what to do then.

Missing data is never an alarm, for the same reason everywhere: SQS says nothing of a queue that nobody uses,
and a file system nothing while nobody has mounted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components import metrics
from components.metrics import PERIOD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi

    from components.metrics import Metric, Queues
    from components.model_section import Model
    from components.pools import Pool
    from components.settings import Settings

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
"""The most that an alarm looks back in periods under an hour (CloudWatch API reference, PutMetricAlarm)."""

MAX_METRICS = 10
"""Of one alarm; a hard limit (CloudWatch user guide, "Limits that apply to alarms based on metric math")."""

IDLE_MARGIN_SECONDS = 1800
"""From the end of a cool-down to the end of the node: KEDA's poll, the pod's end, the autoscaler's."""

LAST_CALL_SECONDS = 2 * DAY_SECONDS
"""What is left of a paused model's oldest document, before SQS deletes it, when the alarm goes off."""

FILES_LOAD_PERCENT = 95


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """An expression that is over a threshold in every period of some time.

    Attributes:
        name: its own part of the resource's name.
        description: what is wrong, as it stands in the message that somebody gets.
        metrics: by the ids that the expression uses.
        expression: CloudWatch's metric math, or the id of a metric.
        above: the threshold.
        seconds: for how long, in whole periods.
    """

    name: str
    description: str
    metrics: Mapping[str, Metric]
    expression: str
    above: float = 0
    seconds: int = PERIOD_SECONDS


def of_model(model: Model, settings: Settings, queues: Queues, *, kept_seconds: int) -> tuple[Alarm, ...]:
    """What can be wrong with a model's documents.

    Args:
        model: whose they are.
        settings: the stack's.
        queues: the model's.
        kept_seconds: how long SQS keeps a message.
    """
    patience = patience_seconds(model)
    paused = not settings.instances_of(model)
    return (
        Alarm(
            name=f"{model.name}-oldest-document",
            description=(
                f"{model.name} is paused, and SQS will soon delete its oldest documents"
                if paused
                else f"A document for {model.name} has no outcome after {_hours(patience)}"
            ),
            metrics={"oldest": metrics.oldest_seconds(queues.work)},
            expression="oldest",
            above=kept_seconds - LAST_CALL_SECONDS if paused else patience,
        ),
        Alarm(
            name=f"{model.name}-dead-letters",
            description=f"Documents for {model.name} have failed for good, and wait to be looked at",
            metrics={"dead": metrics.waiting(queues.dead_letters)},
            expression="dead",
        ),
        Alarm(
            name=f"{model.name}-undelivered",
            description=f"EventBridge could not tell the queue of {model.name} of new documents",
            metrics={"undelivered": metrics.waiting(queues.undelivered)},
            expression="undelivered",
        ),
        Alarm(
            name=f"{model.name}-stuck",
            description=f"{model.name} has documents in hand, and has finished none in {_hours(patience)}",
            metrics={"in_hand": metrics.in_hand(queues.work), "finished": metrics.finished(queues.work)},
            expression="IF(in_hand > 0 AND in_hand * 0 + finished == 0, 1, 0)",
            seconds=patience,
        ),
    )


def of_pool(
    pool: Pool, settings: Settings, *, scaling_group: pulumi.Input[str], queues: Mapping[str, Queues]
) -> tuple[Alarm, ...]:
    """Nodes that are up for nothing: all of these alarms together, where one cannot hold so many queues.

    Args:
        pool: whose nodes they are.
        settings: the stack's.
        scaling_group: name of the pool's Auto Scaling group.
        queues: of each model.

    Returns:
        No alarm where the config asks for just that.
    """
    models = [model for model in settings.models if settings.instance_type_of(model) == pool.instance_type]
    # What waits for a paused model keeps no node busy.
    running = [model for model in models if settings.instances_of(model)]
    seconds = idle_seconds(running, settings)
    if seconds is None:
        return ()
    size = MAX_METRICS - 1
    parts = [running[start : start + size] for start in range(0, len(running), size)] or [[]]
    alarms: list[Alarm] = []
    for part in parts:
        ages = {_id(model): metrics.oldest_seconds(queues[model.name].work) for model in part}
        waits = "".join(f" + {age}" for age in ages)
        alarms.append(
            Alarm(
                name=f"idle-{pool.key}" if len(parts) == 1 else f"idle-{pool.key}-{part[0].name}",
                description=f"A {pool.instance_type} has been up for {_hours(seconds)} with nothing to do",
                metrics={"nodes": metrics.nodes(scaling_group), **ages},
                expression=f"IF(nodes > 0 AND nodes * 0{waits} == 0, 1, 0)",
                seconds=seconds,
            )
        )
    return tuple(alarms)


def of_files(file_system: pulumi.Input[str]) -> Alarm:
    """A file system has no size to run out of. What it can run into is its limit of operations."""
    return Alarm(
        name="files-limit",
        description="The model store does as many operations as it can: models load slowly, or not at all",
        metrics={"load": metrics.files_load_percent(file_system)},
        expression="load",
        above=FILES_LOAD_PERCENT,
        seconds=3 * PERIOD_SECONDS,
    )


def patience_seconds(model: Model) -> int:
    """How long a document may take: an hour, or where one answer may take long, twice its time limit."""
    return _whole_periods(max(HOUR_SECONDS, 2 * model.time_limit))


def idle_seconds(running: Sequence[Model], settings: Settings) -> int | None:
    """How long a node of these models may be up for nothing; None for longer than an alarm looks back."""
    if any(model.min_instances or model.schedule for model in running):
        return None
    cooldown = max((settings.scaling_of(model).cooldown_seconds for model in running), default=0)
    seconds = _whole_periods(max(HOUR_SECONDS, cooldown + IDLE_MARGIN_SECONDS))
    return seconds if seconds <= DAY_SECONDS else None


def _id(model: Model) -> str:
    """What an expression calls a model's queue."""
    return f"queue_{model.name.replace('-', '_')}"


def _whole_periods(seconds: int) -> int:
    return -(-seconds // PERIOD_SECONDS) * PERIOD_SECONDS


def _hours(seconds: int) -> str:
    return "an hour" if seconds == HOUR_SECONDS else f"{seconds / HOUR_SECONDS:.1f} hours"
