"""The worker as a real process, over moto's queue and buckets: what it promises of every document."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.sqs.models import sqs_backends

from cli.computed import ACCOUNT, REGION
from tests.worker.rig import eventually
from tests.worker.scripted_ollama import DIGEST, DROP, Reply, answer

PIXEL = Path(__file__).parent.joinpath("pixel.png").read_bytes()

if TYPE_CHECKING:
    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama


def test_a_document_gets_one_result_one_record_and_one_event(rig: Rig, ollama: ScriptedOllama) -> None:
    """A document dropped into the bucket ends as a result, a record that tells all of it, and an event."""
    rig.worker()
    key = rig.upload("a/my file+1.csv", "ü,1\n".encode(), "text/csv")
    eventually(rig.is_empty)

    assert rig.results(key) == ["about ü,1\n"]
    (record,) = rig.records(key)
    assert record["result"]["key"] == f"{key}/{record['job']}.txt"
    assert {name: record[name] for name in ("outcome", "tokens", "model_digest", "receives", "task")} == {
        "outcome": "answered",
        "tokens": {"prompt": 7, "answer": 3},
        "model_digest": DIGEST,
        "receives": 1,
        "task": rig.task.name,
    }
    phases = {"waited", "fetch", "turn", "server", "load", "prompt", "answer", "store"}
    assert record["seconds"].keys() == phases
    (event,) = rig.announced()
    assert (event["job"], event["result"]) == (record["job"], record["result"])
    assert ollama.asked == ["ü,1\n"]
    assert not rig.dead_letters()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rubbish.txt", bytes(range(256)), "undecodable"),
        ("empty.txt", b"", "empty"),
        ("blank.md", b" \n\t ", "empty"),
        ("photo.png", PIXEL, "no_vision"),
        ("archive.zip", b"PK\x03\x04" + bytes(40), "unsupported"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_document_that_cannot_be_read_is_told_so_before_any_gpu_time(
    rig: Rig, ollama: ScriptedOllama, name: str, content: bytes, reason: str
) -> None:
    """What cannot be read becomes a failure record and a dead letter at once, and is never asked about."""
    rig.worker()
    key = rig.upload(name, content, "binary/octet-stream")
    eventually(rig.is_empty)

    (record,) = rig.records(key)
    assert (record["outcome"], record["failure"]["kind"], record["failure"]["reason"]) == (
        "failed",
        "document",
        reason,
    )
    ((_, attributes),) = rig.dead_letters()
    assert attributes == {"reason": reason, "class": "document", "detail": record["failure"]["detail"]}
    assert rig.results(key) == []
    assert ollama.asked == []


def test_a_byte_order_mark_is_no_text(rig: Rig, ollama: ScriptedOllama) -> None:
    """A BOM at the start of a document does not reach the model."""
    rig.worker()
    rig.upload("bom.txt", b"\xef\xbb\xbfhello")
    eventually(rig.is_empty)
    assert ollama.asked == ["hello"]


def test_a_message_that_nobody_understands_goes_to_the_dead_letters_untouched(rig: Rig) -> None:
    """An unreadable message becomes a dead letter with its body as it was, and the next one is answered."""
    rig.worker()
    rig.send("{not json")
    eventually(rig.is_empty)
    ((body, attributes),) = rig.dead_letters()
    assert body == "{not json"
    assert (attributes["reason"], attributes["class"]) == ("unreadable_message", "document")

    key = rig.upload("next.txt", b"next")
    eventually(lambda: rig.results(key) == ["about next"])


def test_a_deleted_document_is_a_failure_that_says_so(rig: Rig) -> None:
    """A version that is gone when its message is read is recorded as gone, not tried again."""
    key = rig.upload("gone.txt", b"here")
    version = rig.client("s3").head_object(Bucket=rig.task.documents_bucket, Key=key)["VersionId"]
    rig.client("s3").delete_object(Bucket=rig.task.documents_bucket, Key=key, VersionId=version)
    rig.worker()
    eventually(rig.is_empty)
    assert [record["failure"]["reason"] for record in rig.records(key)] == ["gone"]


def test_nothing_is_deleted_before_its_result_is_there(rig: Rig, ollama: ScriptedOllama) -> None:
    """While the result cannot be stored, answer and message are kept; no GPU time is spent twice."""
    s3 = rig.client("s3")
    lost: list[str] = []

    def lose_the_bucket_once(_: dict[str, Any]) -> Reply:
        if not lost:
            for version in s3.list_object_versions(Bucket=rig.task.results_bucket)["Versions"]:
                s3.delete_object(
                    Bucket=rig.task.results_bucket, Key=version["Key"], VersionId=version["VersionId"]
                )
            s3.delete_bucket(Bucket=rig.task.results_bucket)
            lost.append("bucket")
        return answer("safe")

    ollama.script = lose_the_bucket_once
    rig.worker()
    key = rig.upload("kept.txt", b"kept")
    eventually(lambda: "result not stored yet" in rig.log())
    assert sum(rig.counts()) == 1

    s3.create_bucket(Bucket=rig.task.results_bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=rig.task.results_bucket, VersioningConfiguration={"Status": "Enabled"})
    eventually(rig.is_empty)
    assert rig.results(key) == ["safe"]
    assert ollama.asked == ["kept"]


def test_a_message_stays_hidden_for_as_long_as_its_document_takes(rig: Rig, ollama: ScriptedOllama) -> None:
    """An answer that takes longer than the visibility is asked for once, though another worker is idle."""
    release = threading.Event()

    def slowly(body: dict[str, Any]) -> Reply:
        release.wait(30)
        return answer(f"about {body['prompt']}")

    ollama.script = slowly
    rig.worker()
    rig.worker()
    key = rig.upload("slow.txt", b"slow")
    eventually(lambda: ollama.asked)
    queue = sqs_backends[ACCOUNT][REGION].queues[rig.task.queue_url.rpartition("/")[2]]
    (message,) = queue._messages  # noqa: SLF001  moto shows this nowhere else
    first = message.visible_at
    longer = first + 2 * rig.task.visibility_seconds * 1000
    eventually(lambda: message.visible_at > longer)
    assert message.approximate_receive_count == 1
    release.set()
    eventually(rig.is_empty)

    assert ollama.asked == ["slow"]
    assert [record["receives"] for record in rig.records(key)] == [1]


def test_of_two_attempts_at_once_one_result_is_stored(rig: Rig, ollama: ScriptedOllama) -> None:
    """Two deliveries of one document, answered at the same time, leave one version of one result."""
    both = threading.Barrier(2)
    number = iter(("first", "second"))

    def together(_: dict[str, Any]) -> Reply:
        text = next(number)
        both.wait(20)
        return answer(text)

    ollama.script = together
    key = rig.upload("twice.txt", b"twice")
    rig.send(rig.event(key))
    rig.worker()
    rig.worker()
    eventually(rig.is_empty)

    assert rig.results(key) in (["first"], ["second"])
    assert sorted(rig.outcomes(key)) == ["answered", "lost"]
    assert len({event["job"] for event in rig.announced()}) == 1


def test_a_second_delivery_is_answered_by_the_first_ones_result(rig: Rig, ollama: ScriptedOllama) -> None:
    """A message that comes again after its result costs no GPU time and changes nothing."""
    rig.worker()
    key = rig.upload("again.txt", b"again")
    eventually(rig.is_empty)
    before = rig.records(key)
    rig.send(rig.event(key))
    eventually(rig.is_empty)

    assert ollama.asked == ["again"]
    assert rig.results(key) == ["about again"]
    assert rig.records(key) == before


def test_a_killed_workers_document_is_answered_by_the_next_worker(rig: Rig, ollama: ScriptedOllama) -> None:
    """SIGKILL in the middle of an answer loses nothing: the message comes back when its visibility ends."""
    asked = threading.Event()

    def hang_once(body: dict[str, Any]) -> Reply | None:
        if not asked.is_set():
            asked.set()
            threading.Event().wait(3)
            return DROP
        return answer(f"about {body['prompt']}")

    ollama.script = hang_once
    worker = rig.worker()
    key = rig.upload("orphan.txt", b"orphan")
    assert asked.wait(20)
    worker.kill()
    worker.wait()
    rig.worker()
    eventually(rig.is_empty)

    assert rig.results(key) == ["about orphan"]
    assert rig.outcomes(key) == ["running", "answered"]


def test_a_server_that_dies_costs_no_document_an_attempt(rig: Rig, ollama: ScriptedOllama) -> None:
    """While the server is gone nothing is received; once it is back everything is answered."""

    def die_once(body: dict[str, Any]) -> Reply | None:
        if len(ollama.asked) == 1:
            ollama.up = False
            return DROP
        return answer(f"about {body['prompt']}")

    ollama.script = die_once
    rig.worker(attempts=1)
    keys = [rig.upload(f"{name}.txt", name.encode()) for name in ("one", "two", "three")]
    eventually(lambda: "model not loaded yet" in rig.log())
    eventually(lambda: rig.counts() == (3, 0))
    ollama.up = True
    eventually(rig.is_empty)

    assert [rig.results(key) for key in keys] == [["about one"], ["about two"], ["about three"]]
    assert sorted(outcome for key in keys for outcome in rig.outcomes(key)) == [
        "answered",
        "answered",
        "answered",
        "released",
    ]


def test_a_transient_error_is_tried_again(rig: Rig, ollama: ScriptedOllama) -> None:
    """A server error on the first attempt is followed by a second one that answers."""
    replies = iter((Reply({"error": "busy"}, 503), answer("late")))
    ollama.script = lambda _: next(replies)
    rig.worker()
    key = rig.upload("busy.txt", b"busy")
    eventually(rig.is_empty)
    assert rig.results(key) == ["late"]
    assert rig.outcomes(key) == ["retried", "answered"]


def test_attempts_are_counted_and_end_among_the_dead_letters(rig: Rig, ollama: ScriptedOllama) -> None:
    """A document that meets a transient error at every attempt is given up, with the last reason."""
    ollama.script = lambda _: Reply({"error": "out of memory"}, 500)
    rig.worker(attempts=2)
    key = rig.upload("cursed.txt", b"cursed")
    eventually(rig.is_empty)
    assert rig.outcomes(key) == ["retried", "failed"]
    ((_, attributes),) = rig.dead_letters()
    assert (attributes["class"], attributes["reason"]) == ("transient", "server_error")
    assert "out of memory" in attributes["detail"]


def test_a_failure_before_the_question_counts_as_an_attempt_too(rig: Rig) -> None:
    """A document that S3 never hands out is given up after its attempts, with the reason."""
    key = f"{rig.task.name}/nowhere.txt"
    rig.worker(attempts=2, documents_bucket="no-such-bucket")
    rig.send(json.dumps({"document": f"s3://no-such-bucket/{key}"}))
    eventually(rig.is_empty)
    assert rig.outcomes(key) == ["retried", "failed"]
    ((_, attributes),) = rig.dead_letters()
    assert (attributes["class"], attributes["reason"]) == ("transient", "aws_error")


def test_a_lost_gpu_does_not_eat_the_queue(rig: Rig, ollama: ScriptedOllama) -> None:
    """After a server error nothing is received until the model loads again; its error is in the log."""
    broken = Reply({"error": "CUDA error: device lost"}, 500)
    healthy = ollama.load

    def lose_the_gpu(body: dict[str, Any]) -> Reply:
        if len(ollama.asked) == 1:
            ollama.load = lambda: broken
            return broken
        return answer(f"about {body['prompt']}")

    ollama.script = lose_the_gpu
    rig.worker()
    keys = [rig.upload(f"{name}.txt", name.encode()) for name in ("one", "two", "three")]
    eventually(lambda: "model not loaded yet" in rig.log())
    assert "CUDA error: device lost" in rig.log()
    assert sum(rig.counts()) == len(keys)
    ollama.load = healthy
    eventually(rig.is_empty)
    outcomes = [outcome for key in keys for outcome in rig.outcomes(key)]
    assert sorted(outcomes) == ["answered", "answered", "answered", "released"]


def test_an_answer_that_the_server_gives_up_on_twice_is_the_documents_fault(
    rig: Rig, ollama: ScriptedOllama
) -> None:
    """HTTP 200 with `done: false` is never a result; at the second time the document is to blame."""
    ollama.script = lambda _: Reply({"response": "ha ha ha", "done": False})
    rig.worker(attempts=10)
    key = rig.upload("loop.txt", b"loop")
    eventually(rig.is_empty)
    assert rig.results(key) == []
    assert [record["failure"]["kind"] for record in rig.records(key)] == ["transient", "document"]


def test_no_document_text_reaches_log_or_record(rig: Rig) -> None:
    """Neither logs nor records hold what a document says."""
    rig.worker()
    key = rig.upload("secret.txt", b"the password is swordfish")
    eventually(rig.is_empty)
    assert "swordfish" in rig.results(key)[0]
    assert "swordfish" not in rig.log() + str(rig.records(key))
