"""One question to the model, and whether what came back is an answer."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel, ValidationError

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


class _Reply(BaseModel):
    """What the server says to `/api/generate`, error or not; durations are nanoseconds."""

    error: str = ""
    response: str = ""
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int = 0
    eval_count: int = 0
    load_duration: int = 0
    prompt_eval_duration: int = 0
    eval_duration: int = 0


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
        reply = _Reply.model_validate_json(response.content)
    except httpx.TransportError as error:
        raise ServerFailure("server_gone", f"the model server broke off ({type(error).__name__})") from error
    except ValidationError as error:
        raise TransientFailure("server_error", "the model server's answer is not JSON of its API") from error
    if response.is_error:
        raise _refusal(response.status_code, reply.error, task, text)
    # A server that gives up on an answer says so with HTTP 200 and nothing but this.
    if not reply.done:
        detail = (
            "the model server gave up on the answer (done: false), as it does when a model repeats itself"
        )
        raise TransientFailure("not_done", detail)
    if reply.done_reason != "stop":
        detail = (
            f"the answer was cut ({reply.done_reason}): it did not end within num_predict "
            f"{task.options.num_predict} and num_ctx {task.options.num_ctx}"
        )
        raise DocumentFailure("answer_cut", detail)
    if not reply.response.strip():
        raise DocumentFailure("empty_answer", "the model answered with nothing but white space")
    return Answer(
        text=reply.response,
        prompt_tokens=reply.prompt_eval_count,
        answer_tokens=reply.eval_count,
        load_seconds=reply.load_duration / 1e9,
        prompt_seconds=reply.prompt_eval_duration / 1e9,
        answer_seconds=reply.eval_duration / 1e9,
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
