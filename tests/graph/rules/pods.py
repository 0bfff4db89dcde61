"""Rules of pods, nodes and queues: each pod has nodes that take it, each document its time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from components.names import POOL_LABEL
from runtime.spec import MAX_VISIBILITY_SECONDS, TaskSpec
from tests.graph.rules.policies import label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.graph import Graph, Resource

EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
"""EKS's names of them, and Kubernetes'."""

TEMPLATES = {
    "kubernetes:apps/v1:Deployment": ("template",),
    "kubernetes:batch/v1:CronJob": ("jobTemplate", "spec", "template"),
    "kubernetes:batch/v1:Job": ("template",),
}
"""Where in its spec each kind of workload has its pod."""


def pods(graph: Graph) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Every workload, and the spec of its pods."""
    for token, path in TEMPLATES.items():
        for workload in graph.of_type(token):
            template = workload.inputs["spec"]
            for part in path:
                template = template[part]
            yield workload, template["spec"]


def every_pod_has_nodes_that_take_it(graph: Graph) -> Iterator[str]:
    """Its selector finds node groups, and it tolerates all of their taints."""
    groups = graph.of_type("aws:eks/nodeGroup:NodeGroup")
    for workload, pod in pods(graph):
        tolerated = {
            (each["key"], each.get("value", ""), each["effect"]) for each in pod.get("tolerations", [])
        }
        selector = pod.get("nodeSelector", {}).items()
        chosen = [group for group in groups if selector <= group.inputs.get("labels", {}).items()]
        if not selector or not chosen:
            yield f"{label(workload)}: no node group has the labels {dict(selector)}"
        for group in chosen:
            taints = {
                (taint["key"], taint.get("value", ""), EFFECTS[taint["effect"]])
                for taint in group.inputs.get("taints", [])
            }
            for taint in taints - tolerated:
                yield f"{label(workload)}: does not tolerate {taint} of {label(group)}"


def model_nodes_are_for_their_models(graph: Graph) -> Iterator[str]:
    """A group that may have no nodes takes no pod that has not asked for it, and its tags tell the rest."""
    tags: dict[str, dict[str, str]] = {}
    for tag in graph.of_type("aws:autoscaling/tag:Tag"):
        of = tags.setdefault(tag.inputs["autoscalingGroupName"], {})
        of[tag.inputs["tag"]["key"]] = tag.inputs["tag"]["value"]
    template = "k8s.io/cluster-autoscaler/node-template"
    for group in graph.of_type("aws:eks/nodeGroup:NodeGroup"):
        if group.inputs["scalingConfig"]["minSize"] > 0:
            continue
        pool = group.inputs["labels"][POOL_LABEL]
        taint = {"key": POOL_LABEL, "value": pool, "effect": "NO_SCHEDULE"}
        if group.inputs.get("taints") != [taint]:
            yield f"{label(group)}: takes any pod"
        wanted = {
            f"{template}/label/{POOL_LABEL}": pool,
            f"{template}/taint/{POOL_LABEL}": f"{pool}:NoSchedule",
        }
        known = tags.get(group.outputs["resources"][0]["autoscalingGroups"][0]["name"], {})
        if not wanted.items() <= known.items():
            yield f"{label(group)}: from zero nodes nobody knows its label and its taint"


def tasks(graph: Graph) -> Iterator[tuple[Resource, TaskSpec]]:
    """Every model's task, and the ConfigMap that it is in."""
    for config in graph.of_type("kubernetes:core/v1:ConfigMap"):
        if "task.json" in config.inputs["data"]:
            yield config, TaskSpec.model_validate_json(config.inputs["data"]["task.json"])


def documents_have_the_time_that_they_may_take(graph: Graph) -> Iterator[str]:
    """A worker hides a message as its queue does, long enough to extend that, and as long as SQS allows."""
    queues = {each.outputs["url"]: each for each in graph.of_type("aws:sqs/queue:Queue")}
    for config, task in tasks(graph):
        queue = queues[task.queue_url].inputs
        if task.visibility_seconds != queue["visibilityTimeoutSeconds"]:
            yield f"{label(config)}: hides messages for another time than its queue does"
        # A heartbeat may be missed, and the next one is still in time.
        if task.visibility_seconds / 3 < 2 * task.poll_seconds:
            yield f"{label(config)}: a heartbeat comes sooner than a long poll ends"
        if task.time_limit_seconds >= MAX_VISIBILITY_SECONDS:
            yield f"{label(config)}: SQS shows the message again before the time limit"
        redrive = json.loads(queue["redrivePolicy"])
        if redrive["maxReceiveCount"] <= task.attempts:
            yield f"{label(config)}: SQS gives a document up before its attempts are spent"


def dead_letters_outlive_their_documents(graph: Graph) -> Iterator[str]:
    """SQS counts their age from the first message on, so they are kept as long as any (14 days)."""
    for queue in graph.of_type("aws:sqs/queue:Queue"):
        if queue.inputs["messageRetentionSeconds"] != 14 * 24 * 3600:
            yield f"{label(queue)}: forgets sooner than it has to"


def events_are_delivered_or_kept(graph: Graph) -> Iterator[str]:
    """Each rule has a queue of its own for what it cannot deliver; both queues admit it and no other."""
    kept: list[str] = []
    for target in graph.of_type("aws:cloudwatch/eventTarget:EventTarget"):
        (rule,) = (
            each
            for each in graph.of_type("aws:cloudwatch/eventRule:EventRule")
            if each.outputs["name"] == target.inputs["rule"]
        )
        letters = target.inputs.get("deadLetterConfig", {}).get("arn", "")
        kept.append(letters)
        for queue in (target.inputs["arn"], letters):
            if _admitted(graph, queue) != [rule.outputs["arn"]]:
                yield f"{label(target)}: {queue or 'no queue'} does not admit its rule, and it alone"
    if len({*kept}) < len(kept):
        yield "two rules share one queue of undelivered events"


def _admitted(graph: Graph, queue: str) -> list[str]:
    """The rules that may send to a queue."""
    return [
        statement["Condition"]["ArnEquals"]["aws:SourceArn"]
        for policy in graph.of_type("aws:sqs/queuePolicy:QueuePolicy")
        for statement in json.loads(policy.inputs["policy"])["Statement"]
        if statement["Effect"] == "Allow" and statement["Resource"] == queue
    ]


RULES = (
    every_pod_has_nodes_that_take_it,
    model_nodes_are_for_their_models,
    documents_have_the_time_that_they_may_take,
    dead_letters_outlive_their_documents,
    events_are_delivered_or_kept,
)
