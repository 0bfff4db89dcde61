"""What is noticed: every alarm as it is made, and the numbers of the real queues, groups and files in it.

`tests/unit/test_alarms.py` says why each asks what it asks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from cli.graph import Graph, Resource

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
COMPOSITE = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
TOPIC = "aws:sns/topic:Topic"
DEV = ROOT / "Pulumi.dev.yaml"
ALERTS = {"email": "operators@example.com", "monthlyBudget": 500}

OLDEST = ("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum")
WAITING = ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum")
IN_HAND = ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "Maximum")
FINISHED = ("AWS/SQS", "NumberOfMessagesDeleted", "Sum")
NODES = ("AWS/AutoScaling", "GroupInServiceInstances", "Average")
LOAD = ("AWS/EFS", "PercentIOLimit", "Average")


@pytest.fixture(scope="module")
def watched() -> Graph:
    """A stack of two models on one pool whose operators are told."""
    return evaluate(DEV, {"alerts": ALERTS})


def _metrics(alarm: Resource) -> dict[str, tuple[str, ...]]:
    """By id: namespace, name and statistic of a metric, and what it is of."""
    return {
        query["id"]: (
            query["metric"]["namespace"],
            query["metric"]["metricName"],
            query["metric"]["stat"],
            *query["metric"]["dimensions"].values(),
        )
        for query in alarm.inputs["metricQueries"]
        if "metric" in query
    }


def _expression(alarm: Resource) -> str:
    (asked,) = (query for query in alarm.inputs["metricQueries"] if query["returnData"])
    return asked.get("expression", asked["id"])


def _shape(alarm: Resource) -> tuple[object, ...]:
    """What an alarm asks, what is too much, and for how many periods."""
    return (
        _metrics(alarm),
        _expression(alarm),
        alarm.inputs["threshold"],
        alarm.inputs["evaluationPeriods"],
    )


def test_the_alarms_are_exactly_these(watched: Graph) -> None:
    """Four for each model, one for its nodes, one for the store: what they ask, and what is too much."""
    of_models: dict[str, object] = {}
    for model in ("summarize", "extract"):
        queue = f"{model}-graph"
        of_models |= {
            f"{model}-oldest-document": ({"oldest": (*OLDEST, queue)}, "oldest", 3600, 1),
            f"{model}-dead-letters": ({"dead": (*WAITING, f"{model}-dead-letter-graph")}, "dead", 0, 1),
            f"{model}-undelivered": (
                {"undelivered": (*WAITING, f"{model}-undelivered-graph")},
                "undelivered",
                0,
                1,
            ),
            f"{model}-stuck": (
                {"in_hand": (*IN_HAND, queue), "finished": (*FINISHED, queue)},
                "IF(in_hand > 0 AND in_hand * 0 + finished == 0, 1, 0)",
                0,
                12,
            ),
        }
    assert {each.name.removeprefix("watch-"): _shape(each) for each in watched.of_type(ALARM)} == {
        **of_models,
        "files-limit": ({"load": (*LOAD, "models-id")}, "load", 95, 3),
        "idle-g6-2xlarge": (
            {
                "nodes": (*NODES, "eks-nodes-g6-2xlarge-graph"),
                "queue_summarize": (*OLDEST, "summarize-graph"),
                "queue_extract": (*OLDEST, "extract-graph"),
            },
            "IF(nodes > 0 AND nodes * 0 + queue_summarize + queue_extract == 0, 1, 0)",
            0,
            12,
        ),
    }


def test_every_alarm_says_what_missing_data_is(watched: Graph) -> None:
    """Nothing wrong, in all of them; and each is over its threshold, not under it."""
    for alarm in watched.of_type(ALARM):
        assert alarm.inputs["treatMissingData"] == "notBreaching"
        assert alarm.inputs["comparisonOperator"] == "GreaterThanThreshold"
        assert alarm.inputs["alarmDescription"]


def test_parts_of_an_alarm_tell_nobody() -> None:
    """Where a pool has more models than one alarm can ask about, the whole of its alarms is what is told."""
    models = [{"name": f"m{number}", "from": "tiny"} for number in range(20)]
    graph = evaluate(DEV, {"alerts": ALERTS, "models": models})
    for alarm in graph.of_type(ALARM):
        assert len(_metrics(alarm)) <= 10
        assert alarm.inputs["evaluationPeriods"] * 300 <= 86_400
    parts = [graph.one(ALARM, f"watch-idle-g6-2xlarge-{first}") for first in ("m0", "m9", "m18")]
    assert [each.inputs["alarmActions"] + each.inputs["okActions"] for each in parts] == [[], [], []]
    (whole,) = graph.of_type(COMPOSITE)
    assert whole.inputs["alarmName"] == "ollama-eks-dev-idle-g6-2xlarge"
    assert whole.inputs["alarmRule"] == " AND ".join(f'ALARM("{each.outputs["arn"]}")' for each in parts)
    assert whole.inputs["alarmActions"] == [graph.one(TOPIC, "watch").outputs["arn"]]
    assert whole.inputs["okActions"] == whole.inputs["alarmActions"]


@pytest.mark.parametrize("changes", [{"minInstances": 1}, {"scaling": {"cooldownSeconds": 86_400}}])
def test_nodes_that_are_kept_on_purpose_have_no_alarm(watched: Graph, changes: dict[str, object]) -> None:
    """And every other alarm is there as before."""
    models = [{"name": "summarize", "from": "tiny", **changes}, {"name": "extract", "from": "tiny"}]
    graph = evaluate(DEV, {"alerts": ALERTS, "models": models})
    names = {each.name for each in graph.of_type(ALARM)}
    assert {each.name for each in watched.of_type(ALARM)} - names == {"watch-idle-g6-2xlarge"}


def test_the_manual_knows_every_alarm(watched: Graph) -> None:
    """Whoever gets a mail finds the alarm's name there, and nothing there is without an alarm."""
    listed = re.findall(r"(?m)^\| `([^`]+)` \|", (ROOT / "docs" / "watch.md").read_text())
    kinds = {"summarize": "<model>", "extract": "<model>", "g6-2xlarge": "<type>"}
    made = {each.name.removeprefix("watch-") for each in watched.of_type(ALARM)}
    for name, kind in kinds.items():
        made = {each.replace(name, kind) for each in made}
    assert set(listed) == made
