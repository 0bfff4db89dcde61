"""The worker's life as a real process: when it is ready, what it takes ahead, and how it goes."""

from __future__ import annotations

import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.worker.rig import eventually
from tests.worker.scripted_ollama import Reply, answer, error

if TYPE_CHECKING:
    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama


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


def test_sigterm_finishes_the_document_in_hand_and_takes_no_other(rig: Rig, ollama: ScriptedOllama) -> None:
    """A worker that is told to go answers what it holds, leaves the rest in the queue, and ends with 0."""
    release = threading.Event()

    def when_told(body: dict[str, Any]) -> Reply:
        release.wait(20)
        return answer(f"about {body['prompt']}")

    ollama.script = when_told
    worker = rig.worker()
    first = rig.upload("first.txt", b"first")
    eventually(lambda: ollama.asked)
    second = rig.upload("second.txt", b"second")
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in rig.log())
    release.set()

    assert worker.wait(10) == 0
    assert rig.results(first) == ["about first"]
    assert rig.results(second) == []
    assert rig.counts() == (1, 0)


def test_what_cannot_be_finished_in_the_grace_time_is_handed_back_at_once(
    rig: Rig, ollama: ScriptedOllama
) -> None:
    """A document that outlasts the grace time is visible to others the moment that the worker gives it up."""
    release = threading.Event()

    def never(_: dict[str, Any]) -> None:
        release.wait(20)

    ollama.script = never
    worker = rig.worker(grace_seconds=16, visibility_seconds=300)
    key = rig.upload("long.txt", b"long")
    eventually(lambda: ollama.asked)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(10) == 0
    release.set()
    assert rig.counts() == (1, 0)
    assert rig.outcomes(key) == ["released"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_goes_when_it_is_told(rig: Rig, number: signal.Signals) -> None:
    """Either signal with nothing in hand ends a worker after one short poll at most."""
    worker = rig.worker()
    eventually(lambda: "model loaded" in rig.log())
    worker.send_signal(number)
    told = time.monotonic()
    assert worker.wait(10) == 0
    assert time.monotonic() - told < 5
