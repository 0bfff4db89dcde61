"""One page about a stack: is it working, what waits, what does it use. Pure.

The format is that of the CloudWatch API reference, "Dashboard body structure and syntax".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components import metrics
from components.metrics import PERIOD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi

    from components.metrics import Metric, Queues

WIDTH = 24
"""Columns of a dashboard."""

MAX_ALARMS = 100
"""Of one widget."""

ESTIMATE = """\
### What it costs: an estimate that you finish
Node-hours are the time in which instances were in service, as Auto Scaling counts them, over the range. \
Times the list price of a type in this region, they are an **estimate** of the largest part of the bill. \
No price is part of this program; Spot, discounts, disks, the control plane and the network are not in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What the page is about.

    Attributes:
        region: where all of it is.
        alarms: ARNs.
        queues: of each model.
        scaling_groups: names of the pools' Auto Scaling groups, by instance type.
        file_system: id of the model store.
    """

    region: str
    alarms: Sequence[pulumi.Input[str]]
    queues: Mapping[str, Queues]
    scaling_groups: Mapping[str, pulumi.Input[str]]
    file_system: pulumi.Input[str]


def dashboard(subject: Subject) -> dict[str, Any]:
    """The page's body."""
    queues, groups = subject.queues.items(), subject.scaling_groups.items()
    rows = [
        *([alarms] for alarms in _alarms(subject.alarms)),
        [
            _graph(subject, "Documents that wait", {m: metrics.waiting(q.work) for m, q in queues}),
            _graph(subject, "Documents in hand", {m: metrics.in_hand(q.work) for m, q in queues}),
            _graph(subject, "Age of the oldest, s", {m: metrics.oldest_seconds(q.work) for m, q in queues}),
        ],
        [
            _graph(subject, "Answered", _of_workers(subject, "DocumentsAnswered")),
            _graph(subject, "Failed", _of_workers(subject, "DocumentsFailed")),
            _graph(subject, "Dead letters", {m: metrics.waiting(q.dead_letters) for m, q in queues}),
        ],
        [
            _graph(
                subject, "Seconds for each document", _of_workers(subject, "SecondsPerDocument", "Average")
            ),
            _graph(subject, "Nodes in service", {t: metrics.nodes(group) for t, group in groups}),
            _graph(subject, "Model store, bytes", {"stored": metrics.files_bytes(subject.file_system)}),
        ],
        [
            {"type": "text", "properties": {"markdown": ESTIMATE}},
            _node_hours(subject),
        ],
    ]
    return {"widgets": [widget for number, row in enumerate(rows) for widget in _placed(row, 6 * number)]}


def _placed(row: list[dict[str, Any]], y: int) -> list[dict[str, Any]]:
    """The widgets of a row, side by side."""
    width = WIDTH // len(row)
    return [
        {"x": width * number, "y": y, "width": width, "height": 6, **widget}
        for number, widget in enumerate(row)
    ]


def _alarms(arns: Sequence[pulumi.Input[str]]) -> list[dict[str, Any]]:
    """What is wrong comes first."""
    return [
        {
            "type": "alarm",
            "properties": {
                "title": "Is it working?",
                "sortBy": "stateUpdatedTimestamp",
                "alarms": list(arns[start : start + MAX_ALARMS]),
            },
        }
        for start in range(0, len(arns), MAX_ALARMS)
    ]


def _of_workers(subject: Subject, name: str, statistic: metrics.Statistic = "Sum") -> dict[str, Metric]:
    return {model: metrics.of_worker(name, model, statistic) for model in subject.queues}


def _graph(subject: Subject, title: str, lines: Mapping[str, Metric]) -> dict[str, Any]:
    """Lines by their labels."""
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": subject.region,
            "view": "timeSeries",
            "period": PERIOD_SECONDS,
            "yAxis": {"left": {"min": 0}},
            "metrics": [_row(line, label=label) for label, line in lines.items()],
        },
    }


def _node_hours(subject: Subject) -> dict[str, Any]:
    """A number for each type: the mean of the nodes over the whole range, times its hours."""
    rows: list[list[Any]] = []
    for instance_type, group in subject.scaling_groups.items():
        key = f"nodes_{instance_type.replace('.', '_').replace('-', '_')}"
        rows += [
            _row(metrics.nodes(group), id=key, visible=False),
            [{"expression": f"{key} * PERIOD({key}) / 3600", "label": instance_type}],
        ]
    return {
        "type": "metric",
        "properties": {
            "title": "Node-hours",
            "region": subject.region,
            "view": "singleValue",
            "setPeriodToTimeRange": True,
            "metrics": rows,
        },
    }


def _row(metric: Metric, **options: object) -> list[Any]:
    dimensions = [part for dimension in metric.dimensions.items() for part in dimension]
    return [metric.namespace, metric.name, *dimensions, {"stat": metric.statistic, **options}]
