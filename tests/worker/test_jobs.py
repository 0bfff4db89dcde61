"""The worker as a real process: what each form of message, key and version comes to."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from cli.computed import REGION
from tests.worker.rig import eventually
from tests.worker.scripted_ollama import Reply, answer, hang

if TYPE_CHECKING:
    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama


def test_what_is_too_late_costs_no_gpu_time(rig: Rig, ollama: ScriptedOllama) -> None:
    """A deadline that has passed is a record and a dead letter; one that passes meanwhile ends the answer."""
    key = rig.upload("late.txt", b"late")
    eventually(lambda: rig.counts() == (1, 0))
    rig.purge()
    document = f"s3://{rig.task.documents_bucket}/{key}"
    ollama.script = lambda _: hang()

    rig.send(json.dumps({"document": document, "deadline": _in(seconds=-60)}))
    rig.worker()
    eventually(rig.is_empty)
    assert ollama.asked == []

    rig.send(json.dumps({"document": document, "deadline": _in(seconds=2), "inputs": {}}))
    eventually(rig.is_empty)
    assert ollama.abandoned == ["late"]
    assert [record["failure"]["reason"] for record in rig.records(key)] == ["too_late", "too_late"]
    assert [attributes["reason"] for _, attributes in rig.dead_letters()] == ["too_late", "too_late"]


def test_a_message_of_several_documents_is_one_for_each(rig: Rig) -> None:
    """Each gets its own result and its own end, whatever becomes of the others."""
    good, bad = rig.upload("good.txt", b"good"), rig.upload("empty.txt", b"")
    eventually(lambda: rig.counts() == (2, 0))
    rig.purge()
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": rig.task.documents_bucket},
                "object": {"key": key.replace("/", "%2F")},
            },
        }
        for key in (good, bad)
    ]
    rig.send(json.dumps({"Records": records}))
    rig.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}))
    rig.worker()
    eventually(rig.is_empty)
    assert rig.results(good) == ["about good"]
    assert [record["failure"]["reason"] for record in rig.records(bad)] == ["empty"]
    assert len(rig.dead_letters()) == 1


def test_a_document_of_somebody_else_is_not_read(rig: Rig) -> None:
    """A job message may name documents of this task only; any other is a dead letter that says so."""
    rig.send(json.dumps({"document": f"s3://{rig.task.documents_bucket}/other/secret.txt"}))
    rig.worker()
    eventually(rig.is_empty)
    ((_, attributes),) = rig.dead_letters()
    assert attributes["reason"] == "misplaced"


def test_inputs_and_sampling_make_another_job(rig: Rig, ollama: ScriptedOllama) -> None:
    """One document asked in two ways has two results, each by its own prompt; again it costs nothing."""
    key = rig.upload("one.txt", b"one")
    eventually(lambda: rig.counts() == (1, 0))
    rig.purge()
    document = f"s3://{rig.task.documents_bucket}/{key}"
    jobs = [
        {"document": document, "inputs": {"language": "German"}},
        {"document": document, "inputs": {"language": "French"}, "sampling": {"seed": 7}},
    ]
    for job in (*jobs, *jobs):
        rig.send(json.dumps(job))
    rig.worker(prompt="Answer in {{ inputs.language }}.")
    eventually(rig.is_empty)
    asked = [(request["system"], request["options"].get("seed")) for request in ollama.requests]
    assert sorted(asked, key=str) == [("Answer in French.", 7), ("Answer in German.", None)]
    assert len(rig.results(key)) == 2
    assert "German" not in str(rig.records(key)) + rig.log()


def test_the_trace_of_a_message_is_kept(rig: Rig) -> None:
    """Record and event carry the trace context that the message came with."""
    key = rig.upload("traced.txt", b"traced")
    eventually(lambda: rig.counts() == (1, 0))
    rig.purge()
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    rig.send(json.dumps({"document": f"s3://{rig.task.documents_bucket}/{key}"}), traceparent=traceparent)
    rig.worker()
    eventually(rig.is_empty)
    assert rig.records(key)[0]["trace"] == {"traceparent": traceparent}
    assert [event["trace"] for event in rig.announced()] == [{"traceparent": traceparent}]


def test_an_overwrite_while_the_old_version_is_answered_gives_each_its_result(
    rig: Rig, ollama: ScriptedOllama
) -> None:
    """In a versioned bucket both versions are answered, each once, under its own job."""
    release = threading.Event()

    def when_told(body: dict[str, Any]) -> Reply:
        release.wait(20)
        return answer(f"about {body['prompt']}")

    ollama.script = when_told
    rig.worker()
    key = rig.upload("draft.txt", b"first")
    eventually(lambda: ollama.asked)
    rig.upload("draft.txt", b"second")
    release.set()
    eventually(rig.is_empty)
    assert sorted(rig.results(key)) == ["about first", "about second"]
    assert len({record["job"] for record in rig.records(key)}) == 2


def test_keys_as_long_as_s3_allows_have_results_and_records(rig: Rig) -> None:
    """Names near 1,024 bytes, of one byte or four a character, are answered; the record has them whole."""
    room = 1024 - len(f"{rig.task.name}/".encode())
    names = ["a" * room, "\U0001f600" * (room // 4), "ü/" * (room // 3)]
    rig.worker()
    keys = [rig.upload(name, b"text") for name in names]
    eventually(rig.is_empty)
    events = rig.announced()
    assert sorted(event["document"]["key"] for event in events) == sorted(keys)
    for event in events:
        head = rig.client("s3").head_object(Bucket=event["result"]["bucket"], Key=event["result"]["key"])
        assert head["Metadata"]["job"] == event["job"]


def test_all_forms_of_one_upload_are_one_job(rig: Rig, ollama: ScriptedOllama) -> None:
    """EventBridge's event, S3's own notification and job messages end in one result, asked for once."""
    key = rig.upload("a b+c/ünï.txt", b"once")
    eventually(lambda: rig.counts() == (1, 0))
    bucket = rig.task.documents_bucket
    head = rig.client("s3").head_object(Bucket=bucket, Key=key)
    version, etag = head["VersionId"], head["ETag"].strip('"')
    described = {"key": quote_plus(key), "versionId": version, "eTag": etag, "size": 4}
    notification = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:CompleteMultipartUpload",
        "s3": {"bucket": {"name": bucket}, "object": described},
    }
    rig.send(json.dumps({"Records": [notification]}))
    rig.send(json.dumps({"document": f"s3://{bucket}/{key}"}))
    rig.send(json.dumps({"document": {"bucket": bucket, "key": key, "version": version}}))
    rig.worker(visibility_seconds=300)
    eventually(rig.is_empty)
    assert ollama.asked == ["once"]
    assert rig.results(key) == ["about once"]
    assert {event["job"] for event in rig.announced()} == {rig.records(key)[0]["job"]}


def test_a_bucket_without_versions_answers_what_is_there(rig: Rig, ollama: ScriptedOllama) -> None:
    """Without versions the content is the version: what two uploads left is answered once, by its ETag."""
    s3, bucket = rig.client("s3"), f"{rig.task.documents_bucket}-plain"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    key = f"{rig.task.name}/draft.txt"
    for content in (b"first", b"second"):
        etag = s3.put_object(Bucket=bucket, Key=key, Body=content)["ETag"].strip('"')
        object_ = {"key": key, "etag": etag, "version-id": "null"}
        detail = {"bucket": {"name": bucket}, "object": object_}
        rig.send(json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail}))
    rig.worker(documents_bucket=bucket)
    eventually(rig.is_empty)
    assert ollama.asked == ["second"]
    assert rig.results(key) == ["about second"]
    assert [record["document"]["version"] for record in rig.records(key)] == [etag]


def _in(*, seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
