"""What Project Lakechain's worker gets wrong, measured on its own code; each fault with the right behaviour.

Beside the tests here:

    its fault                                                  the test
    a restart pushes all waiting documents away                test_faults: a crash is told by the worker ...
    SIGTERM is ignored, or drops the document                  test_worker: sigterm finishes ...
    the same message twice: two events with one id             test_worker: a second delivery ...
    an answer longer than the visibility is given twice        test_worker: a message stays hidden ...
    HTTP 200 with `done: false` is stored as success           test_worker: ... server gives up on twice ...
    an empty document is stored as an empty result             test_worker: ... cannot be read is told so ...
    an image to a text-only model "succeeds"                   test_worker: ... cannot be read is told so ...
    a missing result bucket throws the answer away             test_worker: nothing is deleted before ...
    what a real server finds too long is stored as success     test_answering
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.rig import eventually
from tests.worker.scripted_ollama import answer, error, hang

if TYPE_CHECKING:
    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama

TEXT_TYPES = {
    "a.txt": "text/plain",
    "b.txt": "text/plain; charset=utf-8",
    "c.md": "text/markdown",
    "d.csv": "text/csv",
    "e.html": "text/html",
    "f.srt": "application/x-subrip",
    "g.vtt": "text/vtt",
    "h.json": "application/json",
}


def test_every_declared_text_type_is_answered(rig: Rig) -> None:
    """All seven text types get an answer, with parameters of the type as well; there one of seven does."""
    keys = {rig.upload(name, b'{"a": 1}', kind): kind for name, kind in TEXT_TYPES.items()}
    rig.worker()
    eventually(rig.is_empty)
    assert {key: rig.outcomes(key) for key in keys} == {key: ["answered"] for key in keys}
    types = {key: rig.records(key)[0]["document"]["type"] for key in keys}
    assert types == {key: kind.partition(";")[0] for key, kind in keys.items()}


def test_a_failed_document_is_tried_again_in_seconds(rig: Rig, ollama: ScriptedOllama) -> None:
    """A transient failure hides its message for seconds, whatever the visibility; there for 1,800."""
    replies = iter((error(500, "try again"), answer("in the end")))
    ollama.script = lambda _: next(replies)
    rig.worker(visibility_seconds=1800)
    key = rig.upload("again.txt", b"again")
    eventually(rig.is_empty, 30)
    assert rig.outcomes(key) == ["retried", "answered"]


def test_a_server_that_is_down_costs_no_document_a_receive(rig: Rig, ollama: ScriptedOllama) -> None:
    """While the server is away nothing is received; there 20 documents lose an attempt in 0.8 s."""
    ollama.crash()
    keys = [rig.upload(f"{number}.txt", b"text") for number in range(20)]
    rig.worker()
    eventually(lambda: rig.log().count("model not loaded yet"))
    assert rig.counts() == (20, 0)
    ollama.restart()
    eventually(rig.is_empty)
    assert {record["receives"] for key in keys for record in rig.records(key)} == {1}


def test_a_server_that_starts_late_costs_no_document_an_attempt(rig: Rig, ollama: ScriptedOllama) -> None:
    """A worker that is up before its server waits for it; there 12 of 20 documents are lost for a while."""
    ollama.load = lambda: error(500, "still starting")
    keys = [rig.upload(f"{number}.txt", b"text") for number in range(20)]
    rig.worker()
    eventually(lambda: "still starting" in rig.log())
    ollama.load = type(ollama)().load
    eventually(rig.is_empty)
    assert {key: rig.outcomes(key) for key in keys} == {key: ["answered"] for key in keys}


def test_documents_of_equal_content_have_results_of_their_own(rig: Rig) -> None:
    """Two names, two results, two events; there the second overwrites the first."""
    rig.worker()
    keys = [rig.upload(name, b"the same") for name in ("one.txt", "two.txt")]
    eventually(rig.is_empty)
    assert [rig.results(key) for key in keys] == [["about the same"], ["about the same"]]
    assert len({event["result"]["key"] for event in rig.announced()}) == 2


@pytest.mark.parametrize("codec", ["latin-1", "utf-16", "utf-8-sig"])
def test_text_that_is_not_utf_8_is_read(rig: Rig, ollama: ScriptedOllama, codec: str) -> None:
    """What other encodings say reaches the model as it was meant; there it fails for ever."""
    text = "Größe, naïveté, garçon: où est la fenêtre? Der Bär läuft über die Straße."
    rig.worker()
    key = rig.upload("text.txt", text.encode(codec))
    eventually(rig.is_empty)
    assert rig.outcomes(key) == ["answered"]
    assert ollama.asked == [text]


def test_a_document_that_is_too_long_is_a_failure(rig: Rig, ollama: ScriptedOllama) -> None:
    """What the server refuses as too long says so; there it is cut, and the rest stored as a success."""
    ollama.script = lambda _: error(400, "the input length exceeds the context length")
    rig.worker()
    key = rig.upload("long.txt", b"long " * 10_000)
    eventually(rig.is_empty)
    (record,) = rig.records(key)
    assert (record["outcome"], record["failure"]["reason"]) == ("failed", "too_long")
    assert ollama.requests[0]["truncate"] is False


def test_an_answer_of_nothing_is_a_failure(rig: Rig, ollama: ScriptedOllama) -> None:
    """White space is no answer; there it is an object of no bytes, and an event."""
    ollama.script = lambda _: answer(" \n")
    rig.worker()
    key = rig.upload("silent.txt", b"silent")
    eventually(rig.is_empty)
    assert [record["failure"]["reason"] for record in rig.records(key)] == ["empty_answer"]
    assert rig.announced() == []


def test_a_missing_results_bucket_costs_no_gpu_time(rig: Rig, ollama: ScriptedOllama) -> None:
    """A place for the result is made sure of before the question is asked."""
    rig.worker(results_bucket="no-such-bucket")
    rig.upload("kept.txt", b"kept")
    eventually(lambda: "message left to come back" in rig.log())
    assert ollama.asked == []
    assert sum(rig.counts()) == 1


def test_a_server_that_hangs_does_not_hold_the_worker(rig: Rig, ollama: ScriptedOllama) -> None:
    """An answer has its time limit, and a server that then answers goes on with the next; there: for ever."""
    ollama.script = lambda body: hang() if len(ollama.asked) == 1 else answer(f"about {body['prompt']}")
    rig.worker(time_limit_seconds=1)
    key = rig.upload("slow.txt", b"slow")
    eventually(rig.is_empty)
    assert [record["outcome"] for record in rig.records(key)] == ["retried", "answered"]
    assert rig.records(key)[0]["failure"]["reason"] == "time_limit"
    assert ollama.abandoned == ["slow"]
