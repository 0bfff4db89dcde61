"""Ollama's HTTP API as a worker uses it: load the model, ask it, and see what is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import httpx
from pydantic import BaseModel, Field

from runtime.ollama.images import images_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.ollama.images import Image
    from runtime.spec import TaskSpec

KEEP_LOADED = -1
"""Never unload: the pod's scaling decides when the memory is given back."""

ALWAYS: Mapping[str, object] = {
    "keep_alive": KEEP_LOADED,
    # By default the server cuts an over-long prompt in the middle and tells nobody.
    "truncate": False,
}

PROBE_SECONDS = 5.0
"""For what the server answers without its model; one that does not is hung, or its machine is."""


class Loaded(BaseModel):
    """What `/api/ps` says of a model.

    Attributes:
        name: with its tag.
        digest: the manifest's.
        size: bytes of memory that it takes in all.
        size_vram: bytes of them on GPUs; equal where the model is resident there whole.
        context_length: tokens; less than num_ctx where the model was trained on less.
    """

    name: str
    digest: str
    size: int = 0
    size_vram: int = 0
    context_length: int = 0


class _Processes(BaseModel):
    models: list[Loaded]


class _Version(BaseModel):
    version: str


class _Shown(BaseModel):
    capabilities: list[str] = []


class _Word(BaseModel):
    done: Literal[True]


class _Vectors(BaseModel):
    embeddings: list[list[float]] = Field(min_length=1, max_length=1)


class Ollama:
    """One server. Errors are httpx's own, and pydantic's for what is not its API.

    What they mean for a document is the caller's to say.
    """

    def __init__(self, host: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Connects to `address:port`, the form of OLLAMA_HOST, or by a transport of the caller's."""
        self._http = httpx.AsyncClient(
            base_url=f"http://{host}",
            # Loads and answers take as long as the caller allows; connects, on loopback, do not.
            timeout=httpx.Timeout(None, connect=PROBE_SECONDS),
            # No queue: whoever calls sets the limit. A connection that was kept is looked at before it is
            # used again: one whose server has gone is not.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            # Never by a proxy of the environment.
            trust_env=False,
            transport=transport,
        )

    async def load(self, task: TaskSpec) -> None:
        """Loads a task's model with the options that its requests send; others would load it again."""
        body = {
            "model": task.model.reference,
            "keep_alive": KEEP_LOADED,
            "options": task.options.wire(),
            "stream": False,
        }
        # A model that only embeds is refused at /api/generate, even to load.
        path = "/api/embed" if task.task == "embed" else "/api/generate"
        (await self._http.post(path, json=body)).raise_for_status()

    async def first_word(self, task: TaskSpec) -> None:
        """Returns once the loaded model has computed one token, or one vector.

        Raises:
            ValueError: the server says anything else.
        """
        body: dict[str, object] = {"model": task.model.reference}
        if task.task == "embed":
            answered = await self.embed({**body, "options": task.options.wire(), "input": "1"})
            _Vectors.model_validate_json(answered.raise_for_status().content)
            return
        # No runner option, so it does not load the model again.
        options = {**task.options.wire(), "num_predict": 1}
        answered = await self.generate({**body, "options": options, "prompt": "1"})
        _Word.model_validate_json(answered.raise_for_status().content)

    async def generate(self, body: Mapping[str, object], images: Sequence[Image] = ()) -> httpx.Response:
        """Asks for one whole answer; closing the connection stops the server's work on it.

        Images are read piece by piece while they are sent, each from its start.
        """
        # By default it forgets the beginning when the context is full, and writes on.
        whole = {**body, **ALWAYS, "stream": False, "shift": False}
        if not images:
            return await self._http.post("/api/generate", json=whole)
        headers, content = images_request(whole, images)
        return await self._http.post("/api/generate", content=content, headers=headers)

    async def embed(self, body: Mapping[str, object]) -> httpx.Response:
        """Asks for the vectors of the texts in `input`."""
        return await self._http.post("/api/embed", json={**body, **ALWAYS})

    async def capabilities(self, model: str) -> frozenset[str]:
        """What the model can do: `completion`, `embedding`, `vision`, `thinking`, `tools`..."""
        answered = await self._http.post("/api/show", json={"model": model}, timeout=PROBE_SECONDS)
        return frozenset(_Shown.model_validate_json(answered.raise_for_status().content).capabilities)

    async def loaded(self) -> Loaded | None:
        """The model that is loaded (the server keeps one), None for none. While one loads, it is listed."""
        answered = await self._http.get("/api/ps", timeout=PROBE_SECONDS)
        models = _Processes.model_validate_json(answered.raise_for_status().content).models
        return models[0] if models else None

    async def ping(self) -> str:
        """The server's version: what it says at once, whatever its model does, unless it hangs."""
        answered = await self._http.get("/api/version", timeout=PROBE_SECONDS)
        return _Version.model_validate_json(answered.raise_for_status().content).version

    async def close(self) -> None:
        """Ends every connection."""
        await self._http.aclose()
