"""One page about a stack: what it shows exists, and has its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT, evaluate
from runtime.metric_names import METRICS_NAMESPACE, MODEL_DIMENSION, MetricName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.graph import Graph

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
DEV = ROOT / "Pulumi.dev.yaml"

SENT_BY_AWS = {
    # SQS developer guide, "Available CloudWatch metrics for Amazon SQS".
    **{
        ("AWS/SQS", name): {"QueueName"}
        for name in (
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
            "NumberOfMessagesDeleted",
        )
    },
    # EC2 Auto Scaling user guide, "Amazon CloudWatch metrics for Amazon EC2 Auto Scaling".
    ("AWS/AutoScaling", "GroupInServiceInstances"): {"AutoScalingGroupName"},
    # EFS user guide, "CloudWatch metrics for Amazon EFS".
    ("AWS/EFS", "PercentIOLimit"): {"FileSystemId"},
    ("AWS/EFS", "StorageBytes"): {"FileSystemId", "StorageClass"},
}
SENT_BY_WORKERS = {(METRICS_NAMESPACE, name.value): {MODEL_DIMENSION} for name in MetricName}


@pytest.fixture(scope="module")
def watched() -> Graph:
    """A stack of two models on one pool."""
    return evaluate(DEV)


def _widgets(graph: Graph) -> list[dict[str, Any]]:
    return json.loads(graph.one(DASHBOARD, "watch").inputs["dashboardBody"])["widgets"]


def _alarms_shown(graph: Graph) -> set[str]:
    return {
        arn for each in _widgets(graph) if each["type"] == "alarm" for arn in each["properties"]["alarms"]
    }


def _rows(graph: Graph) -> list[list[Any]]:
    """Every metric of every widget; no expression."""
    return [
        row
        for widget in _widgets(graph)
        for row in widget["properties"].get("metrics", [])
        if not isinstance(row[0], dict)
    ]


def _unknown(rows: list[list[Any]]) -> set[tuple[str, ...]]:
    """Metrics that nobody sends, or not with these dimensions."""
    sent: Mapping[tuple[str, str], set[str]] = {**SENT_BY_AWS, **SENT_BY_WORKERS}
    return {
        tuple(row[:-1])
        for row in rows
        if sent.get((row[0], row[1])) != {row[at] for at in range(2, len(row) - 1, 2)}
    }


def test_alarms_ask_for_metrics_that_exist(watched: Graph) -> None:
    """Each by a name that AWS documents, with its dimensions."""
    rows = [
        [
            query["metric"]["namespace"],
            query["metric"]["metricName"],
            *sum(query["metric"]["dimensions"].items(), ()),
            {},
        ]
        for alarm in watched.of_type(ALARM)
        for query in alarm.inputs["metricQueries"]
        if "metric" in query
    ]
    assert len(rows) == 14
    assert _unknown(rows) == set()


def test_the_dashboard_shows_metrics_that_exist(watched: Graph) -> None:
    """Of AWS or of the worker, each of a thing of this stack; and the rule notices others."""
    rows = _rows(watched)
    assert _unknown(rows) == set()
    assert _unknown([["AWS/SQS", "Waiting", "QueueName", "q", {}], *rows]) == {
        ("AWS/SQS", "Waiting", "QueueName", "q")
    }
    queues = {each.outputs["name"] for each in watched.of_type("aws:sqs/queue:Queue")}
    known = {"QueueName": queues, "Model": {"summarize", "extract"}, "StorageClass": {"Total"}}
    known |= {"FileSystemId": {"models-id"}, "AutoScalingGroupName": {"eks-nodes-g6-2xlarge-graph"}}
    named = [(row[at], row[at + 1]) for row in rows for at in range(2, len(row) - 1, 2)]
    assert [(key, value) for key, value in named if value not in known[key]] == []


def test_the_dashboard_is_laid_out_in_its_grid(watched: Graph) -> None:
    """Every widget has its place in 24 columns, no two share one, and all are of the stack's region."""
    taken: set[tuple[int, int]] = set()
    for widget in _widgets(watched):
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells
        taken |= cells
        assert widget["type"] in {"alarm", "metric", "text"}
        assert widget["properties"].get("region", "eu-central-1") == "eu-central-1"


def test_the_dashboard_answers_three_questions(watched: Graph) -> None:
    """Is it working, what waits, what does it use; and what is only an estimate says so."""
    titles = [each["properties"].get("title") for each in _widgets(watched)]
    assert titles == [
        "Is it working?",
        "Documents that wait",
        "Documents in hand",
        "Age of the oldest, s",
        "Answered",
        "Failed",
        "Dead letters",
        "Seconds for each document",
        "Nodes in service",
        "Model store, bytes",
        None,
        "Node-hours",
    ]
    assert _alarms_shown(watched) == {each.outputs["arn"] for each in watched.of_type(ALARM)}
    text, hours = _widgets(watched)[-2:]
    assert "**estimate**" in text["properties"]["markdown"]
    assert "No price is part of this program" in text["properties"]["markdown"]
    assert hours["properties"]["setPeriodToTimeRange"] is True
    assert hours["properties"]["metrics"] == [
        [
            *(
                "AWS/AutoScaling",
                "GroupInServiceInstances",
                "AutoScalingGroupName",
                "eks-nodes-g6-2xlarge-graph",
            ),
            {"stat": "Average", "id": "nodes_g6_2xlarge", "visible": False},
        ],
        [{"expression": "nodes_g6_2xlarge * PERIOD(nodes_g6_2xlarge) / 3600", "label": "g6.2xlarge"}],
    ]


def test_fifty_models_fit_into_one_dashboard() -> None:
    """500 metrics a widget, 2,500 in all, 100 alarms a widget (CloudWatch user guide, quotas)."""
    models = [{"name": f"m{number}", "from": "tiny"} for number in range(50)]
    graph = evaluate(DEV, {"models": models})
    widgets = _widgets(graph)
    assert max(len(each["properties"].get("metrics", [])) for each in widgets) == 50
    assert len(_rows(graph)) <= 2500
    assert [len(each["properties"]["alarms"]) for each in widgets if each["type"] == "alarm"] == [100, 100, 2]
    assert len(_alarms_shown(graph)) == 202
