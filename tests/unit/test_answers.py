"""One question to a server that answers by a script: what is asked, and what each answer counts as."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runtime.ollama.client import Ollama
from runtime.spec import ModelSource, ModelSpec, Options, TaskSpec
from runtime.worker.answers import Answer, ask
from runtime.worker.failures import DocumentFailure, Failure, ServerFailure, TransientFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    Server = Callable[[httpx.Request], httpx.Response]

TASK = TaskSpec(
    name="a",
    model=ModelSpec(source=ModelSource.model_validate({"from": "tiny:1b"})),
    prompt="Summarize.",
    options=Options(num_ctx=1024, num_predict=64, temperature=0, stop=("END",)),
    accepts=("text/plain",),
    queue_url="https://queue",
    dead_letter_url="https://dead",
    documents_bucket="documents",
    results_bucket="results",
)

GOOD: dict[str, Any] = {
    "model": "tiny:1b",
    "response": " An answer.\n",
    "done": True,
    "done_reason": "stop",
    "load_duration": 1_500_000_000,
    "prompt_eval_count": 12,
    "prompt_eval_duration": 250_000_000,
    "eval_count": 7,
    "eval_duration": 2_000_000_000,
}


async def _ask(monkeypatch: pytest.MonkeyPatch, server: Server, task: TaskSpec = TASK) -> Answer:
    ollama = Ollama("127.0.0.1:1")
    await ollama.close()
    transport = httpx.MockTransport(server)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as scripted:
        monkeypatch.setattr(ollama, "_http", scripted)
        return await ask(ollama, task, "The document.")


def _says(status: int, body: object) -> Server:
    return lambda _request: httpx.Response(status, text=body if isinstance(body, str) else json.dumps(body))


def _breaks(error: type[httpx.TransportError]) -> Server:
    def broken(request: httpx.Request) -> httpx.Response:
        raise error("broken", request=request)

    return broken


@pytest.mark.parametrize(("prompt", "system"), [("Summarize.", {"system": "Summarize."}), ("", {})])
async def test_the_request_is_exactly_this(
    monkeypatch: pytest.MonkeyPatch, prompt: str, system: dict[str, str]
) -> None:
    """Nothing is cut or forgotten by the server, nothing is unloaded, and a task's options are all sent."""
    asked: list[httpx.Request] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=GOOD)

    await _ask(monkeypatch, server, TASK.model_copy(update={"prompt": prompt}))
    (request,) = asked
    assert (request.method, str(request.url)) == ("POST", "http://server/api/generate")
    assert json.loads(request.content) == {
        "model": "tiny:1b",
        "prompt": "The document.",
        "options": {
            "num_ctx": 1024,
            "num_predict": 64,
            "use_mmap": False,
            "temperature": 0.0,
            "stop": ["END"],
        },
        "keep_alive": -1,
        "stream": False,
        "truncate": False,
        "shift": False,
        **system,
    }


async def test_an_answer_is_the_servers_own_words_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is not trimmed; counts are as given, and times are in seconds."""
    answer = await _ask(monkeypatch, _says(200, GOOD))
    assert dataclasses.asdict(answer) == {
        "text": " An answer.\n",
        "prompt_tokens": 12,
        "answer_tokens": 7,
        "load_seconds": 1.5,
        "prompt_seconds": 0.25,
        "answer_seconds": 2.0,
    }


async def test_counts_that_the_server_leaves_out_are_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that was cached whole has no count, and that is no error."""
    answer = await _ask(monkeypatch, _says(200, {"response": "x", "done": True, "done_reason": "stop"}))
    assert answer == Answer("x", 0, 0, 0.0, 0.0, 0.0)


CUT = "it did not end within num_predict 64 and num_ctx 1024"
LONG = "raise it, or send a shorter document"
NOT_JSON = "the model server's answer is not JSON of its API"


@pytest.mark.parametrize(
    ("server", "kind", "reason", "detail"),
    [
        (
            _says(200, {**GOOD, "done": False}),
            TransientFailure,
            "not_done",
            "the model server gave up on the answer (done: false), as it does when a model repeats itself",
        ),
        (
            _says(200, {**GOOD, "done_reason": "length"}),
            DocumentFailure,
            "answer_cut",
            f"the answer was cut (length): {CUT}",
        ),
        (
            _says(200, {**GOOD, "response": " \n"}),
            DocumentFailure,
            "empty_answer",
            "the model answered with nothing but white space",
        ),
        (
            _says(400, {"error": "the input length exceeds the context length"}),
            DocumentFailure,
            "too_long",
            f"prompt and document, roughly 5 tokens (an estimate), do not fit into num_ctx 1024; {LONG}",
        ),
        (
            _says(400, {"error": "invalid option"}),
            DocumentFailure,
            "refused",
            "the model server refused the request: invalid option",
        ),
        (
            _says(404, {"error": "model 'tiny:1b' not found"}),
            ServerFailure,
            "model_gone",
            "the server does not have the model: model 'tiny:1b' not found",
        ),
        (
            _says(500, {"error": "runner stopped"}),
            TransientFailure,
            "server_error",
            "the model server answered 500: runner stopped",
        ),
        (
            _says(503, {"error": "server busy"}),
            TransientFailure,
            "server_error",
            "the model server answered 503: server busy",
        ),
        (_says(200, "<html>"), TransientFailure, "server_error", NOT_JSON),
        (_says(500, "Internal Server Error"), TransientFailure, "server_error", NOT_JSON),
        (_says(200, "[]"), TransientFailure, "server_error", NOT_JSON),
        (_says(200, {**GOOD, "response": None}), TransientFailure, "server_error", NOT_JSON),
        (
            _breaks(httpx.ConnectError),
            ServerFailure,
            "server_gone",
            "the model server broke off (ConnectError)",
        ),
        (
            _breaks(httpx.RemoteProtocolError),
            ServerFailure,
            "server_gone",
            "the model server broke off (RemoteProtocolError)",
        ),
        (_breaks(httpx.ReadError), ServerFailure, "server_gone", "the model server broke off (ReadError)"),
    ],
    ids=[
        "done false",
        "cut",
        "empty",
        "too long",
        "refused",
        "no model",
        "500",
        "503",
        "not JSON",
        "500 and not JSON",
        "an array",
        "an answer of no text",
        "refused connection",
        "dropped",
        "reset",
    ],
)
async def test_each_reply_has_its_class(
    monkeypatch: pytest.MonkeyPatch, server: Server, kind: type[Failure], reason: str, detail: str
) -> None:
    """Whose fault it is decides what becomes of the message, so every reply falls into exactly one class."""
    with pytest.raises(Failure) as caught:
        await _ask(monkeypatch, server)
    failure = caught.value
    assert (type(failure), failure.reason, failure.detail) == (kind, reason, detail)
