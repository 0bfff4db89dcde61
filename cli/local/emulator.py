"""AWS on loopback: moto, furnished with the buckets, queues and rules that are in the graph."""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from cli.computed import REGION
from cli.local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_s3 import S3Client

    from cli.graph import Graph, Resource

START_SECONDS = 20

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
"""moto asks for some, and checks none."""

OMITTED = (
    "S3 and SQS policies' Deny statements with a condition (moto refuses every request where there is one)",
    "RedriveAllowPolicy (moto drops it)",
    "EKS, EFS, IAM and VPC (nothing on this machine stands for them)",
)
"""What the graph holds and the emulator does not get."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator.

    Attributes:
        endpoint: its URL.
        places: for each queue URL of the graph the emulator's own.
    """

    endpoint: str
    places: Mapping[str, str]
    _server: ThreadedMotoServer

    def client(self, service: str) -> Any:  # noqa: ANN401  one of 400 client types
        """A client of the emulator."""
        return cast("Any", boto3).client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            # What moto does not know it answers with 500, which the SDK would try again and again. It is on
            # loopback, so no proxy of this machine leads to it.
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    @property
    def s3(self) -> S3Client:
        """A client for S3."""
        return self.client("s3")

    def stop(self) -> None:
        """Ends it; everything in it is gone."""
        self._server.stop()


def start(graph: Graph) -> Emulator:
    """Starts an emulator on a free port and makes in it what the graph holds of S3, SQS and EventBridge.

    Raises:
        LocalError: it does not come up.
    """
    # This machine's AWS profile is for another AWS, and moto's own sessions would look for it too.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    # moto's own start waits for ever where its thread fails.
    starting = threading.Thread(target=server.start, daemon=True)
    starting.start()
    starting.join(START_SECONDS)
    if starting.is_alive():
        raise LocalError(
            f"the AWS emulator (moto) did not come up within {START_SECONDS} seconds; "
            "is a loopback address forbidden on this machine?"
        )
    host, port = server.get_host_and_port()
    places: dict[str, str] = {}
    emulator = Emulator(f"http://{host}:{port}", places, server)
    _make_buckets(emulator, graph)
    _make_queues(emulator, graph, places)
    _make_rules(emulator, graph)
    return emulator


def _make_buckets(emulator: Emulator, graph: Graph) -> None:
    s3 = emulator.s3
    for bucket in graph.of_type("aws:s3/bucket:Bucket"):
        s3.create_bucket(
            Bucket=bucket.outputs["bucket"], CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    for versioning in graph.of_type("aws:s3/bucketVersioning:BucketVersioning"):
        status = versioning.inputs["versioningConfiguration"]["status"]
        s3.put_bucket_versioning(
            Bucket=versioning.inputs["bucket"], VersioningConfiguration={"Status": status}
        )
    for notification in graph.of_type("aws:s3/bucketNotification:BucketNotification"):
        configuration: Any = {"EventBridgeConfiguration": {}} if notification.inputs["eventbridge"] else {}
        s3.put_bucket_notification_configuration(
            Bucket=notification.inputs["bucket"], NotificationConfiguration=configuration
        )


def _make_queues(emulator: Emulator, graph: Graph, places: dict[str, str]) -> None:
    sqs = emulator.client("sqs")
    queues = graph.of_type("aws:sqs/queue:Queue")
    # A queue's dead-letter queue has to be there before it.
    for queue in sorted(queues, key=lambda queue: "redrivePolicy" in queue.inputs):
        made = sqs.create_queue(QueueName=queue.outputs["name"], Attributes=_queue_attributes(queue))
        places[queue.outputs["url"]] = made["QueueUrl"]
    for policy in graph.of_type("aws:sqs/queuePolicy:QueuePolicy"):
        document = json.loads(policy.inputs["policy"])
        document["Statement"] = [
            statement
            for statement in document["Statement"]
            if not (statement["Effect"] == "Deny" and "Condition" in statement)
        ]
        url = places[policy.inputs["queueUrl"]]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(document)})


def _queue_attributes(queue: Resource) -> dict[str, str]:
    names = {
        "visibilityTimeoutSeconds": "VisibilityTimeout",
        "messageRetentionSeconds": "MessageRetentionPeriod",
        "maxMessageSize": "MaximumMessageSize",
        "redrivePolicy": "RedrivePolicy",
        "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    }
    unknown = sorted(queue.inputs.keys() - names.keys())
    if unknown:
        raise LocalError(f"the local run does not know what to do with {unknown} of queue {queue.name}")
    values = {names[key]: value for key, value in queue.inputs.items()}
    return {
        name: str(value).lower()
        if isinstance(value, bool)
        else f"{value:.0f}"
        if isinstance(value, float)
        else value
        for name, value in values.items()
    }


def _make_rules(emulator: Emulator, graph: Graph) -> None:
    events = emulator.client("events")
    for rule in graph.of_type("aws:cloudwatch/eventRule:EventRule"):
        events.put_rule(Name=rule.outputs["name"], EventPattern=rule.inputs["eventPattern"])
    for target in graph.of_type("aws:cloudwatch/eventTarget:EventTarget"):
        events.put_targets(
            Rule=target.inputs["rule"], Targets=[{"Id": target.name, "Arn": target.inputs["arn"]}]
        )
