"""One set of runner options for every request of a task: another one would load the model again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runtime.spec import Options, Sampling
from runtime.worker.failures import DocumentFailure
from tests.unit.answering.server import Image, Server, says, task

if TYPE_CHECKING:
    from runtime.spec import TaskSpec

RUNNER = {"num_ctx": 600, "num_batch": 64, "num_gpu": 7, "num_thread": 3, "use_mmap": True}
"""`api.Runner` of server 0.24.0, all of it that a task can say, and none of it as it is by default."""

EVERYTHING = Options.model_validate({**RUNNER, "num_predict": 64, "temperature": 0.5, "seed": 3})
OWN = Sampling(temperature=1, top_k=5, top_p=0.5, seed=9, stop=("x",), repeat_last_n=3)
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}


def _runner(body: dict[str, Any]) -> dict[str, Any]:
    """The options of a request that belong to the loaded model, those that a task cannot say among them."""
    return {name: body["options"][name] for name in (*RUNNER, "main_gpu") if name in body["options"]}


def test_what_is_no_runner_option() -> None:
    """All else that an option can be is sampling, or num_predict; a document can ask for sampling alone."""
    assert Options.model_fields.keys() - Sampling.model_fields.keys() - {"num_predict"} == RUNNER.keys()


@pytest.mark.parametrize(
    ("of", "requests"),
    [
        pytest.param({}, 1, id="an answer"),
        pytest.param({"output_schema": SCHEMA}, 3, id="asked again for its schema"),
        pytest.param({"long_documents": "split"}, 3, id="split and merged"),
        pytest.param({"task": "embed"}, 1, id="a vector"),
    ],
)
@pytest.mark.parametrize("images", [False, True], ids=["text", "images"])
async def test_every_request_has_the_same(of: dict[str, Any], requests: int, *, images: bool) -> None:
    """The load, the first word, and each request about a document that samples its own way."""
    asked: TaskSpec = task(options=EVERYTHING, **of)

    def script(_body: dict[str, Any]) -> httpx.Response:
        if asked.task == "embed":
            return httpx.Response(200, json={"embeddings": [[0.5]]})
        return says(response="no") if asked.output_schema else says()

    server = Server(script)
    await server.client().load(asked)
    await server.client().first_word(asked)
    text = "" if images else "word " * (1000 if asked.long_documents == "split" else 10)
    pictures = (Image.of(b"picture"),) if images else ()
    # Its schema is never met, and images are not embedded: what was asked until then is what counts.
    with contextlib.suppress(DocumentFailure):
        await server.answer(asked, text, images=pictures, sampling=OWN)
    if not images:
        assert len(server.asked) >= 2 + requests
    assert [_runner(body) for body in server.bodies] == [RUNNER] * len(server.asked)
