"""What an error of the server counts as: its words say more about whose fault it is than its status does."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from runtime.worker.failures import DocumentFailure, Failure, ServerFailure, TransientFailure

QUOTED_CHARACTERS = 300
"""Of a server's message, which can quote what a crashing runner wrote last, up to 8 KiB of it."""


class DoesNotFitError(DocumentFailure):
    """Question and answer are longer than the context (`too_long`, `answer_cut`): less text would fit."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """What errors with one of these texts, in lower case, count as."""

    texts: tuple[str, ...]
    kind: type[Failure]
    reason: str
    meaning: str


# The words of server v0.24.0 (llm/server.go, llm/status.go, server/sched.go, runner/*/runner.go), in the
# order in which they count. Most come under 500, whoever is to blame, and those of /api/embed under 400.
SIGNS = (
    # Down before the request came to it, and so not because of it.
    _Sign(
        (
            "llama runner process has terminated",
            "llama runner process no longer running",
            "timed out waiting for llama runner to start",
            "error starting runner",
            "unexpected server status",
            "server not responding",
            "health resp",
            "read health request",
            "connection refused",
            "model failed to load",
            "error loading model",
            "failed to allocate memory",
            "failed to commit memory",
            "memory layout cannot be allocated",
            "requires more system memory",
            "unable to load full model on gpu",
            "exceeds file size",
        ),
        ServerFailure,
        "runner_down",
        "the model server's runner was down",
    ),
    # Dead at the request, or at another one beside it.
    _Sign(
        (
            "model runner has unexpectedly stopped",
            "an error was encountered while running the model",
            "error reading llm response",
            "failed reading llm error response",
            "do embedding request",
            "error reading embed response",
            "connection reset",
            "broken pipe",
            "unexpected eof",
            ": eof",
            "cuda error",
            "rocm error",
            "ggml_assert",
        ),
        ServerFailure,
        "runner_crashed",
        "the model server's runner died",
    ),
    # What was asked is at fault, though the status is 500: an image that cannot be read, `[img-7]` in a text
    # for a model that sees, a schema that makes no grammar.
    _Sign(
        (
            "failed to create new sequence",
            "invalid json schema in format",
            "invalid format",
            "vocabulary required for format",
            "does not support embeddings",
        ),
        DocumentFailure,
        "refused",
        "the model server refused the request",
    ),
)


def failure(status: int, message: str, too_long: str) -> Failure:
    """What an error counts as.

    Args:
        status: of HTTP; 200 for an error that came after it was sent.
        message: the server's.
        too_long: the detail of the failure if it says that the request is.
    """
    said = message.lower()
    quoted = f"{message:.{QUOTED_CHARACTERS}}"
    if status == HTTPStatus.BAD_REQUEST and "context length" in said:
        return DoesNotFitError("too_long", too_long)
    if status == HTTPStatus.NOT_FOUND or ("model" in said and "not found" in said):
        return ServerFailure("model_gone", f"the server does not have the model: {quoted}")
    for sign in SIGNS:
        if any(text in said for text in sign.texts):
            return sign.kind(sign.reason, f"{sign.meaning}: {quoted}")
    if status == HTTPStatus.BAD_REQUEST:
        return DocumentFailure("refused", f"the model server refused the request: {quoted}")
    reason = "busy" if status == HTTPStatus.SERVICE_UNAVAILABLE else "server_error"
    return TransientFailure(reason, f"the model server answered {status}: {quoted}")
