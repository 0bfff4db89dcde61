"""The worker as a real process when its surroundings fail it, or its documents do."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import httpx
import pytest

from cli.computed import REGION
from tests.worker.rig import eventually
from tests.worker.scripted_ollama import Reply, answer, cut, error, error_line, hang, length

if TYPE_CHECKING:
    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama


def test_a_document_that_kills_its_server_is_found_out(rig: Rig, ollama: ScriptedOllama) -> None:
    """It dies beside others, then alone, and is condemned; the others are answered and lose no attempt."""
    ollama.crash_on = {"poison"}
    ollama.down_seconds = 0.3
    bystander = threading.Event()

    def together(body: dict[str, Any]) -> Reply:
        if not bystander.is_set():
            bystander.set()
            return hang()
        return answer(f"about {body['prompt']}")

    ollama.script = together
    good = [rig.upload(f"{name}.txt", name.encode()) for name in ("one", "two", "three")]
    rig.worker(parallel=2, attempts=1, visibility_seconds=300)
    assert bystander.wait(30)
    bad = rig.upload("poison.txt", b"poison")
    eventually(rig.is_empty)

    assert [rig.results(key) for key in good] == [["about one"], ["about two"], ["about three"]]
    assert {outcome for key in good for outcome in rig.outcomes(key)} == {"released", "answered"}
    first, last = rig.records(bad)
    ends = [(each["outcome"], each["failure"]["reason"], each["alone"]) for each in (first, last)]
    assert ends == [("released", "server_gone", False), ("failed", "kills_server", True)]
    ((_, attributes),) = rig.dead_letters()
    assert (attributes["class"], attributes["reason"]) == ("document", "kills_server")


def test_a_neighbour_of_a_crash_is_acquitted_alone(rig: Rig, ollama: ScriptedOllama) -> None:
    """Whoever was in hand when the server died is asked again with nobody beside it."""
    started = threading.Barrier(3)

    def once_together(body: dict[str, Any]) -> Reply:
        if len(ollama.asked) <= 2:
            started.wait(20)
            return hang()
        return answer(f"about {body['prompt']}")

    ollama.script = once_together
    keys = [rig.upload(f"{name}.txt", name.encode()) for name in ("one", "two")]
    rig.worker(parallel=2)
    started.wait(20)
    ollama.crash()
    ollama.restart()
    eventually(rig.is_empty)
    for key in keys:
        assert [(record["outcome"], record["alone"]) for record in rig.records(key)] == [
            ("released", False),
            ("answered", True),
        ]


def test_a_crash_is_told_by_the_worker_that_follows_it(rig: Rig, ollama: ScriptedOllama) -> None:
    """A worker restarted in its pod gives back at once what was in hand, and nobody else's is touched."""
    asked = threading.Event()

    def hang_once(body: dict[str, Any]) -> Reply:
        if not asked.is_set():
            asked.set()
            return hang()
        return answer(f"about {body['prompt']}")

    ollama.script = hang_once
    worker = rig.worker(pod="pod", visibility_seconds=600)
    key = rig.upload("orphan.txt", b"orphan")
    assert asked.wait(20)
    waiting = rig.upload("waiting.txt", b"waiting")
    worker.kill()
    worker.wait()
    rig.worker(pod="pod", visibility_seconds=600)
    eventually(rig.is_empty, 30)

    assert [(record["outcome"], record["alone"]) for record in rig.records(key)] == [
        ("crashed", False),
        ("answered", True),
    ]
    assert [(record["outcome"], record["receives"]) for record in rig.records(waiting)] == [("answered", 1)]


def test_a_document_that_kills_its_worker_is_found_out(rig: Rig, ollama: ScriptedOllama) -> None:
    """Two crashes in one pod, the second with it alone, condemn it; no third one is risked."""
    ollama.script = lambda _: hang()
    key = rig.upload("poison.txt", b"poison")
    for crash in (1, 2):
        worker = rig.worker(pod="pod", visibility_seconds=600)
        eventually(lambda crash=crash: len(ollama.asked) == crash)
        worker.kill()
        worker.wait()
    rig.worker(pod="pod", visibility_seconds=600)
    eventually(rig.is_empty, 30)

    assert rig.outcomes(key) == ["crashed", "crashed", "failed"]
    assert rig.records(key)[-1]["failure"]["reason"] == "kills_worker"
    assert ollama.asked == ["poison", "poison"]


def test_node_losses_never_count(rig: Rig, ollama: ScriptedOllama) -> None:
    """However often the whole pod goes, with its scratch volume, the document is no suspect."""
    ollama.script = lambda _: hang()
    key = rig.upload("innocent.txt", b"innocent")
    for loss in (1, 2, 3):
        worker = rig.worker(attempts=1)
        eventually(lambda loss=loss: len(ollama.asked) == loss)
        worker.kill()
        worker.wait()
    ollama.script = lambda _: answer("at last")
    rig.worker(attempts=1)
    eventually(rig.is_empty)
    records = rig.records(key)
    assert [record["outcome"] for record in records] == ["running", "running", "running", "answered"]
    assert not any(record["alone"] for record in records)


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        (cut(), "released", "server_gone"),
        (error(503, "server busy, please try again.  maximum pending requests exceeded"), "retried", "busy"),
        (error(500, "something else"), "retried", "server_error"),
        (error(500, "llama runner process has terminated: exit status 2"), "released", "runner_down"),
        (error(404, "model 'tiny' not found"), "released", "model_gone"),
        (error_line("an error was encountered while running the model"), "released", "runner_crashed"),
        (Reply({"nothing": "of its API"}), "retried", "not_done"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_that_passes_costs_time_and_nothing_else(
    rig: Rig, ollama: ScriptedOllama, fault: Reply, outcome: str, reason: str
) -> None:
    """Each fault of the server has its class, and the document its answer when the fault is over."""
    ollama.script = lambda body: fault if len(ollama.asked) == 1 else answer(f"about {body['prompt']}")
    rig.worker()
    key = rig.upload("some.txt", b"some")
    eventually(rig.is_empty)
    assert rig.outcomes(key) == [outcome, "answered"]
    assert rig.records(key)[0]["failure"]["reason"] == reason
    assert rig.results(key) == ["about some"]


def test_an_answer_that_is_cut_is_none(rig: Rig, ollama: ScriptedOllama) -> None:
    """What ran into num_predict or num_ctx is a failure of the document, and names both."""
    ollama.script = lambda _: length()
    rig.worker()
    key = rig.upload("endless.txt", b"endless")
    eventually(rig.is_empty)
    (record,) = rig.records(key)
    assert (record["outcome"], record["failure"]["reason"]) == ("failed", "answer_cut")
    assert "num_predict 2048" in record["failure"]["detail"]


def test_the_next_document_is_ready_while_one_is_answered(rig: Rig, ollama: ScriptedOllama) -> None:
    """With a deep queue the next one is fetched, and on record, before the server is free."""
    release = threading.Event()

    def second_waits(body: dict[str, Any]) -> Reply:
        if len(ollama.asked) == 2:
            release.wait(30)
        return answer(f"about {body['prompt']}")

    ollama.script = second_waits
    keys = [rig.upload(f"{number}.txt", f"{number}".encode()) for number in range(6)]
    rig.worker(visibility_seconds=300)
    eventually(lambda: sum(rig.outcomes(key) == ["running"] for key in keys) == 2)
    assert len(ollama.asked) == 2
    release.set()
    eventually(rig.is_empty)
    assert {record["receives"] for key in keys for record in rig.records(key)} == {1}


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


def test_what_a_pod_says_of_itself(rig: Rig, ollama: ScriptedOllama) -> None:
    """Not ready before its model answers, ready while a message is held, and its counts can be scraped."""
    release = threading.Event()
    ollama.load = lambda: error(500, "still loading")

    def when_told(body: dict[str, Any]) -> Reply:
        release.wait(20)
        return answer(f"about {body['prompt']}")

    ollama.script = when_told
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rig.worker(health_port=port, time_limit_seconds=60)

    def status(path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=1).status_code
        except httpx.TransportError:
            return 0

    eventually(lambda: status("/live") == 200)
    assert status("/ready") == 503
    ollama.load = type(ollama)().load
    eventually(lambda: status("/ready") == 200)
    key = rig.upload("held.txt", b"held")
    eventually(lambda: ollama.asked)
    ollama.load = lambda: error(500, "gone again")
    ollama.loaded = False
    assert status("/ready") == 200
    release.set()
    eventually(lambda: rig.results(key))
    eventually(rig.is_empty)
    scraped = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    name = rig.task.name
    counted = f'ollama_eks_documents_total{{class="",model="{name}",outcome="answered",reason=""}} 1.0'
    assert counted in scraped.splitlines()


def _in(*, seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_goes_when_it_is_told(rig: Rig, number: signal.Signals) -> None:
    """Either signal with nothing in hand ends a worker after one short poll at most."""
    worker = rig.worker()
    eventually(lambda: "model loaded" in rig.log())
    worker.send_signal(number)
    told = time.monotonic()
    assert worker.wait(10) == 0
    assert time.monotonic() - told < 5
