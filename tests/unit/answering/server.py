"""A model server that answers by a script, below the real client: what is asked, and what comes of it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import httpx

from runtime.ollama.client import Ollama
from runtime.spec import ModelSource, ModelSpec, Options, Sampling
from runtime.worker import answering
from tests.unit import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from runtime.spec import TaskSpec
    from runtime.worker.answering import Answer

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

TOO_LONG = httpx.Response(400, json={"error": "the input length exceeds the context length"})


def task(**changes: object) -> TaskSpec:
    """A task with small limits."""
    small = {
        "model": ModelSpec(source=ModelSource.model_validate({"from": "tiny:1b"})),
        "prompt": "Summarize.",
        "options": Options(num_ctx=1024, num_predict=64, temperature=0, stop=("END",)),
    }
    return tasks.task(**small | changes)


def says(**changes: object) -> httpx.Response:
    """A good reply, but for these fields."""
    return httpx.Response(200, json=GOOD | changes)


@dataclass(frozen=True)
class Image:
    """An image in memory; what the code knows of it is a file."""

    file: BinaryIO
    size: int

    @classmethod
    def of(cls, content: bytes) -> Image:
        """An image whose file stands at its end, as one that was just written does."""
        file = io.BytesIO(content)
        file.seek(0, io.SEEK_END)
        return cls(file, len(content))


@dataclass
class Server:
    """A server.

    Attributes:
        script: what it says to a request's body, at a path.
        asked: the requests so far.
    """

    script: Callable[[dict[str, Any]], httpx.Response] = lambda _body: says()
    asked: list[httpx.Request] = field(default_factory=list)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests' bodies so far."""
        return [json.loads(request.content) for request in self.asked]

    @property
    def prompts(self) -> list[str]:
        """The requests' prompts so far."""
        return [body["prompt"] for body in self.bodies]

    def client(self) -> Ollama:
        """A client of it."""

        def respond(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            return self.script(json.loads(request.content or b"null"))

        return Ollama("server", transport=httpx.MockTransport(respond))

    async def answer(
        self,
        of: TaskSpec,
        text: str = "The document.",
        *,
        images: Sequence[Image] = (),
        inputs: Mapping[str, JsonValue] | None = None,
        sampling: Sampling | None = None,
    ) -> Answer:
        """What the code under test makes of a document."""
        question = answering.prepare(
            of, text=text, images=images, inputs=inputs or {}, sampling=sampling or Sampling()
        )
        ollama = self.client()
        try:
            return await answering.answer(ollama, of, question)
        finally:
            await ollama.close()
