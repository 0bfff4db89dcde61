"""The CloudWatch metrics that alarms and the dashboard ask for, by the names that their senders use. Pure.

Two facts decide how they are put together. SQS sends most of them only while there is something to say (SQS
developer guide, "Available CloudWatch metrics"), and in a sum a missing value counts as 0, but compared with
a number it is no value at all (CloudWatch user guide, "Using metric math"). So whatever may be missing is
added to something that is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runtime.spec import METRICS_NAMESPACE

if TYPE_CHECKING:
    import pulumi

PERIOD_SECONDS = 300

Statistic = Literal["Average", "Maximum", "Sum"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One series of numbers.

    Attributes:
        namespace: whose metric it is.
        name: what it counts.
        dimensions: of what, each dimension with its value.
        statistic: what becomes of the samples of a period.
    """

    namespace: str
    name: str
    dimensions: dict[str, pulumi.Input[str]]
    statistic: Statistic


@dataclass(frozen=True, slots=True)
class Queues:
    """Names of a model's queues: of its documents, of those that failed, of events that did not arrive."""

    work: pulumi.Input[str]
    dead_letters: pulumi.Input[str]
    undelivered: pulumi.Input[str]


def waiting(queue: pulumi.Input[str]) -> Metric:
    """Messages that can be received; the one metric that SQS sends of an empty queue too."""
    return _of_queue(queue, "ApproximateNumberOfMessagesVisible", "Maximum")


def in_hand(queue: pulumi.Input[str]) -> Metric:
    """Messages that somebody has received and not deleted."""
    return _of_queue(queue, "ApproximateNumberOfMessagesNotVisible", "Maximum")


def oldest_seconds(queue: pulumi.Input[str]) -> Metric:
    """Age of the oldest message, in hand or not; missing while there is none.

    A message that was received three times does not count any more.
    """
    return _of_queue(queue, "ApproximateAgeOfOldestMessage", "Maximum")


def finished(queue: pulumi.Input[str]) -> Metric:
    """Messages that were deleted: answered, or gone on to the dead letters. Missing while there are none.

    Not the worker's own metrics: their one dimension is the model's name, which another stack may use too.
    """
    return _of_queue(queue, "NumberOfMessagesDeleted", "Sum")


def nodes(scaling_group: pulumi.Input[str]) -> Metric:
    """Instances in service.

    EKS has had these metrics of its node groups turned on, every minute and at no cost, since 28 June 2024
    (EKS user guide, "View metrics for Amazon EC2 Auto Scaling groups").
    """
    dimensions = {"AutoScalingGroupName": scaling_group}
    return Metric("AWS/AutoScaling", "GroupInServiceInstances", dimensions, "Average")


def files_load_percent(file_system: pulumi.Input[str]) -> Metric:
    """How near a file system is to the operations that its performance mode allows."""
    return Metric("AWS/EFS", "PercentIOLimit", {"FileSystemId": file_system}, "Average")


def files_bytes(file_system: pulumi.Input[str]) -> Metric:
    """What a file system stores, and so what it bills."""
    dimensions = {"FileSystemId": file_system, "StorageClass": "Total"}
    return Metric("AWS/EFS", "StorageBytes", dimensions, "Average")


def of_worker(name: str, model: str, statistic: Statistic) -> Metric:
    """One of `runtime.metric_names.MetricName`; sent for minutes that have news."""
    return Metric(METRICS_NAMESPACE, name, {"Model": model}, statistic)


def _of_queue(queue: pulumi.Input[str], name: str, statistic: Statistic) -> Metric:
    return Metric("AWS/SQS", name, {"QueueName": queue}, statistic)
