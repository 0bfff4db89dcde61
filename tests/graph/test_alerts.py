"""Who is told, of what, and by whom: the topic, its reader, its senders, and the budget."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

import pytest

from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from cli.graph import Graph, Resource

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
BUDGET = "aws:budgets/budget:Budget"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
TOPIC = "aws:sns/topic:Topic"
POLICY = "aws:sns/topicPolicy:TopicPolicy"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
DEV = ROOT / "Pulumi.dev.yaml"
ALERTS = {"email": "operators@example.com", "monthlyBudget": 500}

SENDERS = {
    ALARM: "cloudwatch.amazonaws.com",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": "cloudwatch.amazonaws.com",
    BUDGET: "budgets.amazonaws.com",
}


@pytest.fixture(scope="module")
def watched() -> Graph:
    """A stack whose operators are told, and which has a budget."""
    return evaluate(DEV, {"alerts": ALERTS})


@pytest.fixture(scope="module")
def silent() -> Graph:
    """The same without `alerts`."""
    return evaluate(DEV)


def test_without_alerts_nobody_is_told_and_all_is_there(watched: Graph, silent: Graph) -> None:
    """The same alarms and the same dashboard, without a topic, a policy, a reader or a budget."""
    assert {each.urn for each in silent.of_type(ALARM)} == {each.urn for each in watched.of_type(ALARM)}
    for alarm in silent.of_type(ALARM):
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == []
    gone = {each.type for urn, each in watched.resources.items() if urn not in silent.resources}
    assert gone == {TOPIC, POLICY, SUBSCRIPTION, BUDGET}
    assert silent.one(DASHBOARD, "watch").inputs == watched.one(DASHBOARD, "watch").inputs


def test_somebody_is_told_of_the_beginning_and_the_end(watched: Graph) -> None:
    """All alarms write to the one topic, and the one reader of it is the config's."""
    arn = watched.one(TOPIC, "watch").outputs["arn"]
    for alarm in watched.of_type(ALARM):
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [arn]
    assert watched.one(SUBSCRIPTION, "watch").inputs == {
        "topic": arn,
        "protocol": "email",
        "endpoint": ALERTS["email"],
    }


def test_the_budget_is_of_this_cluster(watched: Graph) -> None:
    """Its nodes, by the tag that EKS gives them; told at 80 %, and when more than all of it is foreseen."""
    budget = watched.one(BUDGET, "watch").inputs
    assert {key: budget[key] for key in budget.keys() - {"notifications"}} == {
        "budgetType": "COST",
        "timeUnit": "MONTHLY",
        "limitAmount": "500",
        "limitUnit": "USD",
        "metrics": "UnblendedCost",
        "filterExpression": {"tags": {"key": "aws:eks:cluster-name", "values": ["ollama-eks-dev"]}},
    }
    assert [(each["notificationType"], each["threshold"]) for each in budget["notifications"]] == [
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    ]
    told_only = evaluate(DEV, {"alerts": {"email": ALERTS["email"]}})
    assert [len(told_only.of_type(each)) for each in (TOPIC, BUDGET)] == [1, 0]


def _told(value: object) -> set[str]:
    """Every topic that is named anywhere in a value."""
    return set(re.findall(r"arn:aws:sns:[^\"' ]+", json.dumps(value)))


def _lost(graph: Graph) -> set[tuple[str, str]]:
    """Services that are to write to a topic, and may not: what they send is lost without a word."""
    admitted = {
        (statement["Principal"]["Service"], policy.inputs["arn"])
        for policy in graph.of_type(POLICY)
        for statement in json.loads(policy.inputs["policy"])["Statement"]
        if statement["Effect"] == "Allow"
        and statement["Action"] == "sns:Publish"
        and statement["Resource"] == policy.inputs["arn"]
        and statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    }
    sealed = {
        topic.outputs["arn"]
        for topic in graph.of_type(TOPIC)
        if topic.inputs.get("kmsMasterKeyId", "").endswith("alias/aws/sns")
    }
    writes = {
        (sender, topic)
        for kind, sender in SENDERS.items()
        for each in graph.of_type(kind)
        for topic in _told(each.inputs)
    }
    return {(sender, topic) for sender, topic in writes if (sender, topic) not in admitted or topic in sealed}


def _with(graph: Graph, resource: Resource, **inputs: object) -> Graph:
    """A copy of a graph, one resource of which has other inputs."""
    changed = dataclasses.replace(resource, inputs={**resource.inputs, **inputs})
    return dataclasses.replace(graph, resources={**graph.resources, resource.urn: changed})


def test_whoever_writes_to_the_topic_may(watched: Graph) -> None:
    """CloudWatch and AWS Budgets, of this account alone; and the rule notices a wrong policy or key."""
    assert _lost(watched) == set()
    topic, policy = watched.one(TOPIC, "watch"), watched.one(POLICY, "watch")
    arn = topic.outputs["arn"]
    both = {("cloudwatch.amazonaws.com", arn), ("budgets.amazonaws.com", arn)}
    assert _lost(_with(watched, topic, kmsMasterKeyId="alias/aws/sns")) == both
    no_budgets = policy.inputs["policy"].replace("budgets.amazonaws.com", "events.amazonaws.com")
    assert _lost(_with(watched, policy, policy=no_budgets)) == {("budgets.amazonaws.com", arn)}
    another = policy.inputs["policy"].replace('"aws:SourceAccount": "1', '"aws:SourceAccount": "2')
    assert _lost(_with(watched, policy, policy=another)) == both


def test_the_topic_admits_nobody_else(watched: Graph) -> None:
    """Each sender for its own kind of resource in this account."""
    statements = json.loads(watched.one(POLICY, "watch").inputs["policy"])["Statement"]
    assert [
        (each["Effect"], each["Principal"]["Service"], each["Condition"]["ArnLike"]["aws:SourceArn"])
        for each in statements
    ] == [
        ("Allow", "cloudwatch.amazonaws.com", "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:*"),
        ("Allow", "budgets.amazonaws.com", "arn:aws:budgets::123456789012:*"),
    ]


def test_senders_come_after_their_right_to_send(watched: Graph) -> None:
    """AWS Budgets refuses a topic that it may not write to; an alarm would lose its first message."""
    policy = watched.one(POLICY, "watch").urn
    for kind in (ALARM, BUDGET):
        assert {policy in each.dependencies for each in watched.of_type(kind)} == {True}
