"""What the server's errors count as: the words are those of its source, v0.24.0."""

from __future__ import annotations

import pytest

from runtime.worker.answering.errors import DoesNotFitError, failure
from runtime.worker.failures import DocumentFailure, Failure, ServerFailure, TransientFailure


@pytest.mark.parametrize(
    ("status", "message", "kind", "reason"),
    [
        (400, "the input length exceeds the context length", DoesNotFitError, "too_long"),
        (400, "invalid option", DocumentFailure, "refused"),
        (400, '"tiny" does not support thinking', DocumentFailure, "refused"),
        (
            500,
            "Failed to create new sequence: failed to process inputs: invalid image index: 7",
            DocumentFailure,
            "refused",
        ),
        (500, "invalid JSON schema in format", DocumentFailure, "refused"),
        (501, "this model does not support embeddings", DocumentFailure, "refused"),
        (404, "model 'tiny' not found", ServerFailure, "model_gone"),
        (404, "model 'connection reset' not found", ServerFailure, "model_gone"),
        (404, "", ServerFailure, "model_gone"),
        (400, "do embedding request: http: server closed idle connection", ServerFailure, "runner_crashed"),
        (500, 'model "tiny" not found, try pulling it first', ServerFailure, "model_gone"),
        (503, "server busy, please try again.  maximum pending requests exceeded", TransientFailure, "busy"),
        (500, "request canceled", TransientFailure, "server_error"),
        (500, "", TransientFailure, "server_error"),
        (
            500,
            "model runner has unexpectedly stopped, this may be due to resource limitations",
            ServerFailure,
            "runner_crashed",
        ),
        (
            500,
            "an error was encountered while running the model: CUDA error: an illegal memory access",
            ServerFailure,
            "runner_crashed",
        ),
        (
            500,
            "error reading llm response: read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer",
            ServerFailure,
            "runner_crashed",
        ),
        (
            400,
            'do embedding request: Post "http://127.0.0.1:1/embedding": EOF',
            ServerFailure,
            "runner_crashed",
        ),
        (
            500,
            "llama runner process has terminated: CUDA error: no CUDA-capable device is detected",
            ServerFailure,
            "runner_down",
        ),
        (500, "llama runner process no longer running: -1 ", ServerFailure, "runner_down"),
        (
            400,
            'do embedding request: Post "http://127.0.0.1:1/embedding": dial tcp: connection refused',
            ServerFailure,
            "runner_down",
        ),
        (
            500,
            "model requires more system memory (9 GiB) than is available (1 GiB)",
            ServerFailure,
            "runner_down",
        ),
        (
            500,
            "timed out waiting for llama runner to start: context deadline exceeded",
            ServerFailure,
            "runner_down",
        ),
    ],
)
def test_the_words_decide(status: int, message: str, kind: type[Failure], reason: str) -> None:
    """A runner that is dead is the server's fault under any status, and never a document's."""
    found = failure(status, message, "too long")
    assert (type(found), found.reason) == (kind, reason)


def test_little_of_a_message_is_quoted() -> None:
    """It can hold what a runner wrote before it died: 8 KiB."""
    found = failure(500, "x" * 8192, "too long")
    assert found.detail == "the model server answered 500: " + "x" * 300
