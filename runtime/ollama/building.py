"""Makes a server's model directory hold a model: pulls it from a registry, or builds it from a Modelfile."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel

from runtime.command import CommandError
from runtime.ollama import blobs, manifests, objects
from runtime.ollama.model_name import ModelName
from runtime.ollama.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import httpx

    from runtime.spec import ModelSource, ModelSpec

# The registry has answered and would answer the same again, but for 408 and 429, which ask for patience.
_REFUSED = re.compile(r"pull model manifest: (unauthorized|4(?!08|29)\d\d:)")
_NOT_FOUND = "pull model manifest: file does not exist"
# The machine's troubles in Go's words (`zerrors_linux_amd64.go`, which has renamed a stale handle): room can
# be made, and another pod may have a better disk, mount or memory.
_OF_THE_MACHINE = re.compile(
    "no space left on device|disk quota exceeded|input/output error|stale (NFS )?file handle"
    "|no locks available|too many open files|cannot allocate memory"
)
_NOT_QUANTISED = "quantization is only supported for F16, BF16 and F32 models"
# `KV.FileType` of the pinned server reads 0, which says F32, as no type.
_QUANTISABLE = (
    "; name weights of 16 bits: a GGUF of 32 bits counts as none of these where its general.file_type is 0"
)


class ServerError(Exception):
    """An error line of the server, in its own words."""


class CutShortError(ServerError):
    """The server's answer ended without a last word, good or bad."""


class Step(BaseModel):
    """One line of the server's answer. An error may come as a line of its own, under HTTP 200."""

    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0
    error: str | None = None


@dataclass(kw_only=True)
class Builder:
    """Has one server pull and build.

    Attributes:
        server: its client, without time limits: the server is silent for minutes while it hashes 40 GB, so
            that stalls have to be told from the lines of its answer.
        models: the directory of that server.
        stall_seconds: how long a registry may send nothing.
    """

    server: httpx.AsyncClient
    models: Path
    stall_seconds: float
    progress: Progress = field(default_factory=Progress)

    async def make(self, spec: ModelSpec) -> None:
        """Makes the directory hold `spec.reference`.

        Raises:
            CommandError: `os.EX_DATAERR` if the source is wrong, `os.EX_UNAVAILABLE` if a later try may do.
            httpx.TransportError: the server has gone.
        """
        try:
            spec.source.check()
        except ValueError as error:
            raise CommandError(str(error), os.EX_DATAERR) from error
        if spec.source.pulled is not None:
            await self._pull(spec.source.pulled)
        if spec.source.pull_name is None:
            await self.create(spec)

    async def create(self, spec: ModelSpec) -> None:
        """Builds what is not just pulled; a base that has a name has to be there. Raises as `make` does."""
        recipe = spec.source.recipe
        origin: dict[str, object] = {}
        if spec.source.pulled is not None:
            origin["from"] = spec.source.pulled.pull_name
        else:
            origin["files"] = self._adopted(recipe.bases, "model")
        if recipe.adapter is not None:
            origin["adapters"] = self._adopted([recipe.adapter], "adapter")
        if spec.source.quantize is not None:
            origin["quantize"] = spec.source.quantize
        try:
            await self._follow("/api/create", recipe.create_request(spec.reference, origin))
        except ServerError as error:
            mends = isinstance(error, CutShortError) or _OF_THE_MACHINE.search(str(error))
            code = os.EX_UNAVAILABLE if mends else os.EX_DATAERR
            remedy = _QUANTISABLE if str(error) == _NOT_QUANTISED else ""
            sentence = f"Ollama cannot build the model: {error}{remedy}"
            raise CommandError(sentence, code) from error

    def _adopted(self, sources: Iterable[str], kind: str) -> Mapping[str, str]:
        """Digests of the files by names of their own; a converter knows files of a directory by name."""
        return {
            name: blobs.adopt(url, self.models, self.progress)
            for number, source in enumerate(sources)
            for name, url in objects.named(source, f"{kind}-{number}.gguf").items()
        }

    async def _pull(self, source: ModelSource) -> None:
        name = str(source.pull_name)
        parsed = ModelName.parse(name)
        registry = parsed.host
        body = {"model": name, "insecure": source.plain_http}
        try:
            await self._follow("/api/pull", body, stall_seconds=self.stall_seconds)
        except TimeoutError as error:
            sentence = (
                f"registry {registry} has sent nothing of model {name} for {self.stall_seconds:g} s: "
                "see that it can be reached from here, then run this again"
            )
            raise CommandError(sentence, os.EX_UNAVAILABLE) from error
        except ServerError as error:
            text, code = str(error), os.EX_DATAERR
            if text == _NOT_FOUND:
                sentence = f"registry {registry} has no model {name}: correct the name or the tag"
            elif _REFUSED.match(text):
                sentence = f"registry {registry} refuses model {name}: {text}"
            else:
                code = os.EX_UNAVAILABLE
                sentence = f"model {name} cannot be had from registry {registry} now: {text}"
            raise CommandError(sentence, code) from error
        if source.digest is not None:
            # Of what came, whatever was offered before.
            came = manifests.digest_of((self.models / parsed.manifest).read_bytes())
            if came != source.digest:
                sentence = (
                    f"model {name} of registry {registry} is pinned to {source.digest}, and {came} came: "
                    "its tag has moved; name the tag that is meant, or pin it anew"
                )
                raise CommandError(sentence, os.EX_DATAERR)

    async def _follow(
        self, path: str, body: Mapping[str, object], *, stall_seconds: float | None = None
    ) -> None:
        """Sends one request and follows its lines to `success`, without which HTTP 200 proves nothing.

        Raises:
            ServerError: an error line.
            CutShortError: an end without `success`.
            TimeoutError: a registry was asked and nothing has moved for `stall_seconds`.
        """
        furthest: dict[str, int] = {}
        step = Step()
        async with (
            asyncio.timeout(stall_seconds) as silence,
            self.server.stream("POST", path, json=body) as response,
        ):
            async for line in response.aiter_lines():
                step = Step.model_validate_json(line)
                if step.error is not None:
                    raise ServerError(step.error)
                self.progress(step.status, step.completed, step.total)
                if stall_seconds is None or not step.status.startswith("pulling"):
                    silence.reschedule(None)
                elif _moved(step, furthest):
                    silence.reschedule(asyncio.get_running_loop().time() + stall_seconds)
        if step.status != "success":
            msg = f"its answer ended with {step.status!r} instead of success"
            raise CutShortError(msg)


def _moved(step: Step, furthest: dict[str, int]) -> bool:
    """Whether a pull has come further than ever before. The server repeats its line 16 times a second.

    A download that is whole counts: its file is being closed, which may take long. Trying again does not.
    """
    if step.completed == step.total > 0:
        return True
    before = furthest.get(step.status, -1)
    furthest[step.status] = max(before, step.completed)
    return step.completed > before
