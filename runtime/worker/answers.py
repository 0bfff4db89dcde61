"""One question to the model, and whether what came back is an answer."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from runtime.worker.failures import DocumentFailure, ServerFailure, TransientFailure

if TYPE_CHECKING:
    from runtime.ollama.client import Ollama
    from runtime.spec import TaskSpec

BYTES_PER_TOKEN = 4
"""A rule of thumb for European text; the server gives no count of what it refuses, so it is an estimate."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Attributes:
        text: the answer.
        prompt_tokens: tokens of the question, as the server counts them.
        answer_tokens: tokens of the answer, likewise.
        load_seconds: how long the server took to have the model ready.
        prompt_seconds: how long it read.
        answer_seconds: how long it wrote.
    """

    text: str
    prompt_tokens: int
    answer_tokens: int
    load_seconds: float
    prompt_seconds: float
    answer_seconds: float


async def ask(ollama: Ollama, task: TaskSpec, text: str) -> Answer:
    """Puts a document to the model.

    Raises:
        DocumentFailure: `too_long`, `refused`, `answer_cut` or `empty_answer`.
        TransientFailure: `server_error` or `not_done`.
        ServerFailure: `server_gone` or `model_gone`.
    """
    try:
        response = await ollama.generate(
            task.model.reference, system=task.prompt, prompt=text, options=task.options.wire()
        )
        body: dict[str, Any] = response.json()
    except httpx.TransportError as error:
        raise ServerFailure("server_gone", f"the model server broke off ({type(error).__name__})") from error
    except ValueError as error:
        raise TransientFailure("server_error", "the model server's answer is not JSON") from error
    if response.is_error:
        raise _refusal(response.status_code, str(body.get("error", "")), task, text)
    # A server that gives up on an answer says so with HTTP 200 and nothing but this.
    if body.get("done") is not True:
        detail = (
            "the model server gave up on the answer (done: false), as it does when a model repeats itself"
        )
        raise TransientFailure("not_done", detail)
    if body.get("done_reason") != "stop":
        detail = (
            f"the answer was cut ({body.get('done_reason')}): it did not end within num_predict "
            f"{task.options.num_predict} and num_ctx {task.options.num_ctx}"
        )
        raise DocumentFailure("answer_cut", detail)
    if not str(body.get("response", "")).strip():
        raise DocumentFailure("empty_answer", "the model answered with nothing but white space")
    return Answer(
        text=body["response"],
        prompt_tokens=body.get("prompt_eval_count", 0),
        answer_tokens=body.get("eval_count", 0),
        load_seconds=body.get("load_duration", 0) / 1e9,
        prompt_seconds=body.get("prompt_eval_duration", 0) / 1e9,
        answer_seconds=body.get("eval_duration", 0) / 1e9,
    )


def _refusal(
    status: int, message: str, task: TaskSpec, text: str
) -> DocumentFailure | TransientFailure | ServerFailure:
    if status == HTTPStatus.NOT_FOUND:
        return ServerFailure("model_gone", f"the server does not have the model: {message}")
    if status != HTTPStatus.BAD_REQUEST:
        return TransientFailure("server_error", f"the model server answered {status}: {message}")
    if "context length" in message:
        tokens = (len(task.prompt.encode()) + len(text.encode())) // BYTES_PER_TOKEN
        detail = (
            f"prompt and document, roughly {tokens} tokens (an estimate), do not fit into num_ctx "
            f"{task.options.num_ctx}; raise it, or send a shorter document"
        )
        return DocumentFailure("too_long", detail)
    return DocumentFailure("refused", f"the model server refused the request: {message}")
