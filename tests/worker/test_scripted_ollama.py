"""What the scripted Ollama promises: the wire format of the real one, and every fault on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.worker.rig import eventually
from tests.worker.scripted_ollama import (
    Reply,
    answer,
    cut,
    delay,
    embedding,
    error,
    error_line,
    fingerprint,
    hang,
    length,
    not_done,
)

if TYPE_CHECKING:
    from tests.worker.scripted_ollama import ScriptedOllama


def ask(ollama: ScriptedOllama, path: str = "/api/generate", **body: object) -> httpx.Response:
    """Asks the server, as a client that has no connection yet."""
    given = (
        {"model": "tiny", "stream": False, "prompt": "p"} if path == "/api/generate" else {"model": "tiny"}
    )
    return httpx.post(f"http://{ollama.host}{path}", json=given | body, trust_env=False)


@pytest.mark.parametrize(
    ("reply", "status", "said"),
    [
        (answer("a", thinking="hm"), 200, {"response": "a", "thinking": "hm", "done_reason": "stop"}),
        (length("a"), 200, {"response": "a", "done": True, "done_reason": "length"}),
        (not_done("a"), 200, {"response": "a", "done": False}),
        (error_line("no"), 200, {"error": "no"}),
        (error(400, "no"), 400, {"error": "no"}),
        (error(404, "no"), 404, {"error": "no"}),
        (error(500, "no"), 500, {"error": "no"}),
        (error(503, "no"), 503, {"error": "no"}),
        (delay(0.05, answer("late")), 200, {"response": "late"}),
    ],
)
def test_each_reply_arrives_as_ollama_writes_it(
    ollama: ScriptedOllama, reply: Reply, status: int, said: dict[str, Any]
) -> None:
    """Every kind of answer and error has its status and its fields; ended ones have all counts and times."""
    ollama.script = lambda _: reply
    got = ask(ollama)
    assert (got.status_code, said.items() <= got.json().items()) == (status, True)
    counts = {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count"}
    assert (counts <= got.json().keys()) == ("done_reason" in got.json())


@pytest.mark.parametrize("reply", [None, cut(), hang(0.05)])
def test_an_answer_that_never_arrives_whole_is_a_protocol_error(
    ollama: ScriptedOllama, reply: Reply | None
) -> None:
    """A dropped, a cut and a hanging request end without an answer."""
    ollama.script = lambda _: reply
    with pytest.raises(httpx.RemoteProtocolError):
        ask(ollama)


def test_a_client_that_leaves_is_noticed_at_once(ollama: ScriptedOllama) -> None:
    """A request that its client gives up is listed, however long its reply would have taken."""
    ollama.script = lambda body: hang() if body["prompt"] == "for ever" else hang(threading.Event())
    for prompt in ("for ever", "for an event"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"http://{ollama.host}/api/generate", json={"prompt": prompt}, trust_env=False, timeout=0.1
            )
    eventually(lambda: ollama.abandoned == ["for ever", "for an event"])


def test_images_may_come_in_chunks_and_are_kept_as_digests(ollama: ScriptedOllama) -> None:
    """A body of any length without Content-Length is read whole; of an image only hash and size are kept."""
    image = secrets.token_bytes(1_000_000)
    body = json.dumps({"model": "v", "prompt": "p", "images": [base64.b64encode(image).decode()]}).encode()
    pieces = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    got = httpx.post(f"http://{ollama.host}/api/generate", content=pieces, trust_env=False)
    assert got.json()["response"] == "about p"
    digest = {"sha256": hashlib.sha256(image).hexdigest(), "bytes": 1_000_000}
    assert ollama.requests == [{"model": "v", "prompt": "p", "images": [digest]}]


def test_the_other_pages_say_what_a_test_sets(ollama: ScriptedOllama) -> None:
    """A model is listed once it is loaded and until it is unloaded; the rest is as configured."""

    def page(path: str) -> dict[str, Any]:
        return httpx.get(f"http://{ollama.host}{path}", trust_env=False).json()

    assert page("/api/ps") == {"models": []}
    assert ask(ollama, prompt="").json()["done_reason"] == "load"
    ollama.resident["size_vram"] = 500_000
    (model,) = page("/api/ps")["models"]
    assert (model["size"], model["size_vram"], model["context_length"]) == (1_000_000, 500_000, 4096)
    assert ask(ollama, prompt="", keep_alive=0).json()["done_reason"] == "unload"
    assert page("/api/ps") == {"models": []}
    ollama.load = lambda: error(500, "no GPU")
    assert ask(ollama, prompt="").status_code == 500
    assert page("/api/ps") == {"models": []}
    ollama.version, ollama.shown["capabilities"] = "0.9.9", ["completion", "vision"]
    assert page("/api/version") == {"version": "0.9.9"}
    assert ask(ollama, "/api/show").json()["capabilities"] == ["completion", "vision"]
    vectors = ask(ollama, "/api/embed", input=["one", "two"]).json()
    assert (vectors["embeddings"], vectors["prompt_eval_count"]) == ([embedding("one"), embedding("two")], 6)
    assert ollama.asked == ["one", "two"]
    assert len(ollama.loads) == 3


def test_a_crash_ends_every_connection_and_the_model(ollama: ScriptedOllama) -> None:
    """A given document kills the server for all who wait, until it is restarted without a model."""
    ask(ollama, prompt="")
    ollama.script = lambda _: hang()
    ollama.crash_on = {"poison"}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, ollama, prompt="harmless")
        eventually(lambda: ollama.asked)
        with pytest.raises(httpx.TransportError):
            ask(ollama, prompt="has poison in it")
        assert isinstance(waiting.exception(timeout=4), httpx.RemoteProtocolError | httpx.ReadError)
    with pytest.raises(httpx.TransportError):
        ask(ollama, "/api/show")
    ollama.restart()
    assert httpx.get(f"http://{ollama.host}/api/ps", trust_env=False).json() == {"models": []}
    ollama.down_seconds = 0.05
    with pytest.raises(httpx.TransportError):
        ask(ollama, prompt="poison")
    eventually(lambda: ollama.up)


def test_the_timed_server_answers_in_order_and_tells_how_busy_its_slots_were() -> None:
    """Two slots take six prompts in three turns; stats and the last line say when each was in a slot."""
    command = [
        sys.executable,
        "-m",
        "tests.worker.scripted_ollama",
        "--service-seconds",
        "0.1",
        "--slots",
        "2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, ThreadPoolExecutor() as pool:
        assert server.stdout
        host = server.stdout.readline().strip()

        def post(number: int) -> str:
            body = {"prompt": f"prompt {number}"}
            return httpx.post(f"http://{host}/api/generate", json=body, trust_env=False).json()["response"]

        answers = list(pool.map(post, range(6)))
        stats = httpx.get(f"http://{host}/stats", trust_env=False).json()
        server.terminate()
        assert json.loads(server.stdout.read())["answers"] == stats["answers"]
    assert answers == [fingerprint({"prompt": f"prompt {number}"}) for number in range(6)]
    assert answers[0] == hashlib.sha256(b"prompt 0").hexdigest()[:16]
    times = stats["answers"]
    assert [each["end"] - each["start"] for each in times] == pytest.approx([0.1] * 6)
    assert [each["arrived"] for each in times] == sorted(each["arrived"] for each in times)
    for earlier, later in zip(times, times[2:], strict=False):
        assert later["start"] >= earlier["end"]
    assert stats["cpu_seconds"] > 0
