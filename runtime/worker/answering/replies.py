"""What the server says to a request, and what it counts as: an answer, or whose fault its absence is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from runtime.worker.answering.errors import DoesNotFitError, failure
from runtime.worker.failures import DocumentFailure, ServerFailure, TransientFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from runtime.spec import TaskSpec


class Reply(BaseModel):
    """What the server says to `/api/generate`; durations are nanoseconds."""

    error: str = ""
    response: str = ""
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int = 0
    eval_count: int = 0
    load_duration: int = 0
    prompt_eval_duration: int = 0
    eval_duration: int = 0


class Vectors(BaseModel):
    """What the server says to `/api/embed`; durations are nanoseconds."""

    error: str = ""
    embeddings: list[list[float]] = []
    prompt_eval_count: int = 0
    load_duration: int = 0
    total_duration: int = 0


AnyReply = TypeVar("AnyReply", Reply, Vectors)


async def receive(request: Awaitable[httpx.Response], kind: type[AnyReply], too_long: str) -> AnyReply:
    """The server's reply to a request, unless it is an error.

    Args:
        request: what the client returned.
        kind: the form of the reply.
        too_long: the detail of the failure if the server says that the request is.

    Raises:
        DocumentFailure: `too_long` (a DoesNotFitError) or `refused`.
        TransientFailure: `server_error` or `busy`.
        ServerFailure: `server_unreachable`, `server_gone`, `runner_down`, `runner_crashed` or `model_gone`.
    """
    try:
        response = await request
        reply = kind.model_validate_json(response.content)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServerFailure(
            "server_unreachable", f"no model server there ({type(error).__name__})"
        ) from error
    except httpx.RequestError as error:
        raise ServerFailure("server_gone", f"the model server broke off ({type(error).__name__})") from error
    except ValidationError:
        # Not chained: pydantic quotes what it was given, which can be an answer.
        raise TransientFailure("server_error", "the model server's answer is not JSON of its API") from None
    # A reply that began with HTTP 200 can still say that it failed.
    if response.is_error or reply.error:
        raise failure(response.status_code, reply.error, too_long)
    return reply


def check(reply: Reply, task: TaskSpec) -> None:
    """Checks that a reply is a whole answer.

    Raises:
        DocumentFailure: `answer_cut`, a DoesNotFitError where a shorter prompt would help.
        TransientFailure: `not_done`.
    """
    options = task.options
    if reply.done_reason == "length":
        detail = (
            f"the answer was cut after {reply.eval_count} tokens: beside {reply.prompt_eval_count} of the "
            f"prompt it did not end within num_predict {options.num_predict} and num_ctx {options.num_ctx}"
        )
        # The server looks at num_predict first: stopped before it, there was no room left.
        full = reply.eval_count < options.num_predict
        raise (DoesNotFitError if full else DocumentFailure)("answer_cut", detail)
    # A server that gives up on an answer says so with HTTP 200 and nothing but this.
    if not reply.done or reply.done_reason != "stop":
        done = str(reply.done).lower()
        detail = (
            f"the model server gave up on the answer (done: {done}), as it does when a model repeats itself"
        )
        raise TransientFailure("not_done", detail)
