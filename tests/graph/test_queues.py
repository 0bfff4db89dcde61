"""Queues and edges: what fills a model's queue, what happens to what cannot be delivered, and who may."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from runtime.spec import TaskSpec
from tests.graph.stacks import KEY, graph_of

if TYPE_CHECKING:
    from cli.graph import Graph

ACCOUNT = "eu-central-1:123456789012"
RETENTION = 14 * 24 * 3600
CHAIN = {"transcribe": None, "summarize": "transcribe", "extract": "transcribe", "judge": "extract"}


def _queue(graph: Graph, name: str) -> dict[str, Any]:
    return graph.one("aws:sqs/queue:Queue", name).inputs


def _statements(graph: Graph, name: str) -> list[dict[str, Any]]:
    return json.loads(graph.one("aws:sqs/queuePolicy:QueuePolicy", name).inputs["policy"])["Statement"]


def _task(graph: Graph, name: str) -> TaskSpec:
    config = graph.one("kubernetes:core/v1:ConfigMap", name)
    return TaskSpec.model_validate_json(config.inputs["data"]["task.json"])


def _edge(graph: Graph, name: str) -> tuple[str, str]:
    """The bucket and the prefix whose new objects a model's rule sends to its queue."""
    pattern = json.loads(graph.one("aws:cloudwatch/eventRule:EventRule", name).inputs["eventPattern"])
    assert pattern.keys() == {"source", "detail-type", "detail"}
    assert (pattern["source"], pattern["detail-type"]) == (["aws.s3"], ["Object Created"])
    (bucket,) = pattern["detail"]["bucket"]["name"]
    (key,) = pattern["detail"]["object"]["key"]
    return bucket, key["prefix"]


def test_a_model_has_these_queues(dev: Graph) -> None:
    """Its own, one for what was given up, and one for what was never delivered; SQS encrypts them."""
    kept = {"messageRetentionSeconds": RETENTION, "sqsManagedSseEnabled": True}
    redrive = {
        "deadLetterTargetArn": f"arn:aws:sqs:{ACCOUNT}:summarize-dead-letter-graph",
        "maxReceiveCount": 50,
    }
    assert {
        each.name: each.inputs
        for each in dev.of_type("aws:sqs/queue:Queue")
        if each.name.startswith("summarize")
    } == {
        "summarize": {
            **kept,
            "visibilityTimeoutSeconds": 300,
            "maxMessageSize": 262_144,
            "redrivePolicy": json.dumps(redrive),
        },
        "summarize-dead-letter": {**kept, "maxMessageSize": 1_048_576},
        "summarize-undelivered": kept,
    }


@pytest.mark.parametrize("name", ["summarize", "summarize-dead-letter", "summarize-undelivered"])
def test_a_key_takes_the_place_of_sqs_own(name: str) -> None:
    """SQS refuses both at once."""
    queue = _queue(graph_of("own key"), name)
    assert queue["kmsMasterKeyId"] == KEY
    assert "sqsManagedSseEnabled" not in queue


def test_dead_letters_come_from_their_own_queue(dev: Graph) -> None:
    """No other queue of the account may send its own there."""
    allowed = dev.one("aws:sqs/redriveAllowPolicy:RedriveAllowPolicy", "summarize").inputs
    assert allowed["queueUrl"].endswith("/summarize-dead-letter-graph")
    assert json.loads(allowed["redriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:{ACCOUNT}:summarize-graph"],
    }


@pytest.mark.parametrize(
    ("name", "filled"),
    [("summarize", True), ("summarize-dead-letter", False), ("summarize-undelivered", True)],
)
def test_a_queue_admits_its_rule(dev: Graph, name: str, filled: bool) -> None:  # noqa: FBT001
    """And nobody without TLS. Roles need no word here: their own policies allow them."""
    queue = f"arn:aws:sqs:{ACCOUNT}:{name}-graph"
    over_tls = {
        "Sid": "OnlyOverTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": queue,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    by_rule = {
        "Sid": "FilledByItsRule",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:events:{ACCOUNT}:rule/summarize-graph"}},
    }
    assert _statements(dev, name) == [over_tls, *([by_rule] if filled else [])]


def test_an_event_is_tried_for_a_day_and_then_kept(dev: Graph) -> None:
    """In a queue of its own rule, not among the documents that were given up."""
    target = dev.one("aws:cloudwatch/eventTarget:EventTarget", "summarize").inputs
    assert target == {
        "rule": "summarize-graph",
        "arn": f"arn:aws:sqs:{ACCOUNT}:summarize-graph",
        "deadLetterConfig": {"arn": f"arn:aws:sqs:{ACCOUNT}:summarize-undelivered-graph"},
        "retryPolicy": {"maximumEventAgeInSeconds": 86_400, "maximumRetryAttempts": 185},
    }


@pytest.mark.parametrize("queue", ["summarize", "summarize-undelivered"])
def test_no_event_comes_before_it_is_admitted(dev: Graph, queue: str) -> None:
    """One that neither queue takes is lost."""
    policy = dev.one("aws:sqs/queuePolicy:QueuePolicy", queue)
    assert policy.urn in dev.one("aws:cloudwatch/eventTarget:EventTarget", "summarize").dependencies


@pytest.mark.parametrize(("model", "after"), CHAIN.items())
def test_a_model_gets_its_documents_or_results_of_another(model: str, after: str | None) -> None:
    """Its rule, its task and its rights name the same place; records are not under it."""
    graph = graph_of("chained")
    bucket, prefix = ("documents-graph", f"{model}/") if after is None else ("results-graph", f"{after}/")
    assert _edge(graph, model) == (bucket, prefix)
    assert _task(graph, model).source == f"s3://{bucket}/{prefix}"
    assert not "records/".startswith(prefix)
    rights = json.loads(graph.one("aws:iam/rolePolicy:RolePolicy", model).inputs["policy"])["Statement"]
    (reads,) = (each for each in rights if "s3:GetObjectVersion" in each["Action"])
    assert reads["Resource"] == [f"arn:aws:s3:::{bucket}/{prefix}*"]


@pytest.mark.parametrize(("model", "after"), CHAIN.items())
def test_a_result_is_a_document_that_the_next_model_accepts(model: str, after: str | None) -> None:
    """What the config takes for its type is what the worker puts it under."""
    if after is not None:
        graph = graph_of("chained")
        kind = _task(graph, after).result_type[1].partition(";")[0]
        assert kind in _task(graph, model).accepts


def test_a_chained_worker_lists_no_documents() -> None:
    """It takes none of them, so it need not know whether one is missing."""
    rights = json.loads(graph_of("chained").one("aws:iam/rolePolicy:RolePolicy", "judge").inputs["policy"])[
        "Statement"
    ]
    (lists,) = (each for each in rights if each["Action"] == ["s3:ListBucket"])
    assert lists["Resource"] == ["arn:aws:s3:::results-graph"]
