"""A model as its directory in the store: where it comes from, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping  # noqa: TC003  pydantic reads it
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from runtime.ollama import modelfile, weights
from runtime.ollama.model_name import ModelName
from runtime.options import Frozen
from runtime.version import OLLAMA_VERSION

Quantization = Literal["q4_K_S", "q4_K_M", "q8_0"]
"""What `/api/create` of the pinned server makes of 16 and 32 bit weights (`ggml.ParseFileType`)."""


class ModelSource(Frozen):
    """Where a model comes from: a name that Ollama pulls, weights in S3, or a Modelfile.

    Attributes:
        inputs: what fills the `{{ inputs.name }}` of the Modelfile.
        digest: the manifest that the pulled name has to have, `sha256:` and 64 hex digits.
        quantize: what 16 or 32 bit weights are to become.
    """

    from_: str | None = Field(default=None, alias="from", min_length=1)
    modelfile: str | None = Field(default=None, min_length=1)
    # Left out where unset, so that models without these three keep the hashes that they have.
    inputs: Mapping[str, JsonValue] = Field(default={}, exclude_if=lambda inputs: not inputs)
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    quantize: Quantization | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.from_ is None) == (self.modelfile is None):
            raise ValueError("give exactly one of `from` and `modelfile`")
        return self

    def check(self) -> None:
        """Raises ValueError, in its parser's words, for what no Job could make a model of."""
        if self.inputs and self.modelfile is None:
            raise ValueError("inputs fill the placeholders of a `modelfile`; there is none")
        if self.pull_name is not None:
            ModelName.parse(self.pull_name)
        else:
            weights.check(self.recipe.base, model=True)
        if self.digest is not None and self.pulled is None:
            raise ValueError("a digest pins what is pulled; a model of files alone has its weights in hand")

    def check_syntax(self) -> None:
        """Raises ValueError for a Modelfile that is wrong whatever its inputs are."""
        if self.modelfile is not None:
            modelfile.check_syntax(self.modelfile)

    @property
    def pull_name(self) -> str | None:
        """The name to pull, `[host[:port]/][namespace/]model[:tag]`, or None where the model is built."""
        if self.from_ is None or self.quantize is not None or weights.is_file(self.from_):
            return None
        return self.from_.removeprefix("http://")

    @property
    def pulled(self) -> Self | None:
        """What of it comes from a registry, pinned like this: itself, or the model that it is built on."""
        if self.pull_name is not None:
            return self
        recipe = self.recipe
        if recipe.from_file:
            return None
        return self.model_validate({"from": recipe.base, "digest": self.digest})

    @property
    def plain_http(self) -> bool:
        """Whether the registry is to be asked without TLS, which has to be said: `from: http://host:port/...`."""
        return self.from_ is not None and self.from_.startswith("http://")

    @property
    def modelfile_text(self) -> str:
        """The Modelfile that builds the model; only for sources without a `pull_name`."""
        return self.modelfile if self.modelfile is not None else f"FROM {self.from_}\n"

    @property
    def recipe(self) -> modelfile.Modelfile:
        """How the model is built, its inputs filled in; raises ValueError as `check` does."""
        return modelfile.parse(self.modelfile_text, self.inputs)

    @property
    def s3_objects(self) -> tuple[str, ...]:
        """All that its Job may read: `s3://bucket/key`, and `s3://bucket/directory/` for all below it."""
        files = () if self.pull_name else self.recipe.files
        return tuple(dict.fromkeys(file for file in files if file.startswith(weights.S3)))


class ModelSpec(Frozen):
    """One model directory: what goes into it and where it lies. All that the Job and the server need."""

    source: ModelSource
    server_version: str = OLLAMA_VERSION
    store: str = "/models"
    wait_seconds: int = Field(default=900, gt=0, description="how long a server waits for the directory")

    @property
    def hash(self) -> str:
        """The identity of the directory's content: 64 hex digits over source and server version."""
        content = {"source": json.loads(self.source.to_json()), "server": self.server_version}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def directory(self) -> PurePosixPath:
        """Where the published model lies; `OLLAMA_MODELS` of the server."""
        return PurePosixPath(self.store, self.hash)

    @property
    def reference(self) -> str:
        """The name under which the server knows the model."""
        return self.source.pull_name or "built:latest"
