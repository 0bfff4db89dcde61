"""The worker as a real process when its surroundings fail it, or its documents do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

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
