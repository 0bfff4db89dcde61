"""A worker's surroundings: AWS by moto, with buckets, queues and rules of its own, and worker processes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import boto3

from cli.computed import REGION
from cli.local.emulator import CREDENTIALS
from components.model_queue import object_created
from runtime.spec import DocumentType, ModelSource, ModelSpec, TaskSpec
from runtime.worker.results import EVENT_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_SECONDS = 60


def eventually(what: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:  # noqa: ANN401
    """Waits until a call gives something true, and gives that back."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.03)
    return found


@dataclass
class Rig:
    """One model's buckets and queues, and the workers on them.

    Attributes:
        task: the spec of its workers.
        folder: where specs and logs go.
        endpoint: moto.
        ollama_host: the server that workers ask.
    """

    task: TaskSpec
    folder: Path
    endpoint: str
    ollama_host: str
    events_url: str
    _clients: dict[str, Any] = field(default_factory=dict)
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def client(self, service: str) -> Any:  # noqa: ANN401
        """A client of moto."""
        return self._clients.setdefault(service, _client(service, self.endpoint))

    # Documents in

    def upload(self, name: str, content: bytes, content_type: str = "text/plain") -> str:
        """Puts a document; gives its key."""
        key = f"{self.task.name}/{name}"
        self.client("s3").put_object(
            Bucket=self.task.documents_bucket, Key=key, Body=content, ContentType=content_type
        )
        return key

    def send(self, body: str, **attributes: str) -> None:
        """Puts a message into the queue."""
        self.client("sqs").send_message(
            QueueUrl=self.task.queue_url,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    def purge(self) -> None:
        """Takes every message out of the queue."""
        _drain(self.client("sqs"), self.task.queue_url)

    def event(self, key: str) -> str:
        """The event of a document, as EventBridge delivers it."""
        head = self.client("s3").head_object(Bucket=self.task.documents_bucket, Key=key)
        object_ = {"key": key, "etag": head["ETag"].strip('"'), "version-id": head["VersionId"]}
        detail = {"bucket": {"name": self.task.documents_bucket}, "object": object_}
        return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})

    # Outcomes

    def results(self, key: str) -> list[str]:
        """Every version of every result of a document."""
        return [self._read(found["Key"], found["VersionId"]) for found in self._versions(f"{key}/")]

    def records(self, key: str) -> list[dict[str, Any]]:
        """The records of a document as they are now, in order of time."""
        listed = self._versions(f"records/{key}/")
        latest = sorted(found["Key"] for found in listed if found["IsLatest"])
        return [json.loads(self._read(name)) for name in latest]

    def everything(self) -> dict[str, list[str]]:
        """Every version of every object among the results, by key: one listing, since moto is slow at it."""
        pages = (
            self.client("s3").get_paginator("list_object_versions").paginate(Bucket=self.task.results_bucket)
        )
        found = [version for page in pages for version in page.get("Versions", [])]
        by_key: dict[str, list[str]] = {}
        # Newest first, as S3 lists them.
        for version in found:
            by_key.setdefault(version["Key"], []).append(version["VersionId"])
        return {key: [self._read(key, each) for each in versions] for key, versions in by_key.items()}

    def outcomes(self, key: str) -> list[str]:
        """The outcomes of a document's attempts, in order of time."""
        return [record["outcome"] for record in self.records(key)]

    def dead_letters(self) -> list[tuple[str, dict[str, str]]]:
        """Body and attributes of each dead letter."""
        return [
            (
                message["Body"],
                {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()},
            )
            for message in _drain(self.client("sqs"), self.task.dead_letter_url)
        ]

    def announced(self) -> list[dict[str, Any]]:
        """Details of the events that workers sent and that were not asked for yet."""
        return [
            json.loads(message["Body"])["detail"] for message in _drain(self.client("sqs"), self.events_url)
        ]

    def counts(self) -> tuple[int, int]:
        """Messages that wait, and messages in somebody's hand."""
        attributes = self.client("sqs").get_queue_attributes(
            QueueUrl=self.task.queue_url, AttributeNames=["All"]
        )["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    def is_empty(self) -> bool:
        """Whether the queue holds nothing, in nobody's hand either."""
        return self.counts() == (0, 0)

    # Workers

    def worker(
        self,
        pod: str = "",
        server: str = "",
        aws: str = "",
        **changes: Any,  # noqa: ANN401
    ) -> subprocess.Popen[bytes]:
        """Starts a worker as a process; `changes` are fields of its spec.

        Workers of the same `pod` share a scratch volume, as a container does with the one started after it.
        Without a `server` or an `aws` of its own it asks the rig's.
        """
        number = len(self._workers)
        scratch = self.folder / (pod or f"pod-{number}")
        scratch.mkdir(exist_ok=True)
        spec = self.folder / f"task-{number}.json"
        spec.write_text(self.task.model_copy(update=changes).to_json())
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(scratch),
            "OLLAMA_HOST": server or self.ollama_host,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": aws or self.endpoint,
            **CREDENTIALS,
        }
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "runtime.work", str(spec)], env=env, stdout=log, stderr=log
            )
        self._workers.append(worker)
        return worker

    def adopt(self, worker: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Sees to it that somebody else's worker ends with the rest."""
        self._workers.append(worker)
        return worker

    def log(self, number: int = 0) -> str:
        """What a worker logged so far."""
        return (self.folder / f"worker-{number}.log").read_text()

    def close(self) -> None:
        """Ends what still runs."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait()

    def _versions(self, prefix: str) -> list[dict[str, Any]]:
        found = self.client("s3").list_object_versions(Bucket=self.task.results_bucket, Prefix=prefix)
        return found.get("Versions", [])

    def _read(self, key: str, version: str | None = None) -> str:
        which = {"VersionId": version} if version else {}
        got = self.client("s3").get_object(Bucket=self.task.results_bucket, Key=key, **which)
        return got["Body"].read().decode()


def make(endpoint: str, folder: Path, ollama_host: str) -> Rig:
    """Makes buckets, queues and rules under names of their own; everything is as the program makes it."""
    s3, sqs, events = (_client(service, endpoint) for service in ("s3", "sqs", "events"))
    name = f"task-{secrets.token_hex(4)}"
    buckets = {kind: f"{name}-{kind}" for kind in ("documents", "results")}
    for bucket in buckets.values():
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
    urls = {
        kind: sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"] for kind in ("work", "dead", "events")
    }
    for kind, pattern in (
        ("work", object_created(buckets["documents"], f"{name}/")),
        ("events", json.dumps({"source": [EVENT_SOURCE], "detail": {"task": [name]}})),
    ):
        arn = sqs.get_queue_attributes(QueueUrl=urls[kind], AttributeNames=["QueueArn"])["Attributes"]
        events.put_rule(Name=f"{name}-{kind}", EventPattern=pattern)
        events.put_targets(Rule=f"{name}-{kind}", Targets=[{"Id": kind, "Arn": arn["QueueArn"]}])
    task = TaskSpec(
        name=name,
        model=ModelSpec(source=ModelSource.model_validate({"from": "tiny"})),
        prompt="Say what it is about.",
        accepts=get_args(DocumentType),
        queue_url=urls["work"],
        dead_letter_url=urls["dead"],
        documents_bucket=buckets["documents"],
        results_bucket=buckets["results"],
        visibility_seconds=3,
        poll_seconds=1,
        health_port=0,
    )
    return Rig(task, folder, endpoint, ollama_host, urls["events"])


def _client(service: str, endpoint: str) -> Any:  # noqa: ANN401
    return boto3.client(  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
        service,  # pyright: ignore[reportArgumentType]
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def _drain(sqs: Any, url: str) -> list[dict[str, Any]]:  # noqa: ANN401
    """Takes everything out of a queue."""
    taken: list[dict[str, Any]] = []
    while got := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in got:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        taken += got
    return taken
