"""The seam between the program and the pods: everything that one model's task is, as one typed value.

The program writes a spec as JSON into a ConfigMap, the pods parse the same type. There is no second list of
names to keep in step: what a pod needs to know is a field here, or an environment variable of Ollama's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping  # noqa: TC003  pydantic reads it
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, JsonValue, StrictBool, model_validator

from runtime.metric_names import METRICS_NAMESPACE
from runtime.ollama import modelfile
from runtime.ollama.model_name import ModelName
from runtime.options import Frozen, Options, Sampling
from runtime.schemas import check_schema
from runtime.template import names as prompt_inputs
from runtime.version import OLLAMA_VERSION

__all__ = [
    "MAX_VISIBILITY_SECONDS",
    "METRICS_NAMESPACE",
    "DocumentType",
    "Frozen",
    "LongDocuments",
    "ModelSource",
    "ModelSpec",
    "Options",
    "Sampling",
    "TaskKind",
    "TaskSpec",
    "Think",
    "check_schema",
    "prompt_inputs",
    "server_environment",
]

DocumentType = Literal[
    "text/plain",
    "text/markdown",
    "text/html",
    "text/csv",
    "application/json",
    "application/x-subrip",
    "text/vtt",
    "application/pdf",
    "image/png",
    "image/jpeg",
]

TaskKind = Literal["generate", "embed"]
LongDocuments = Literal["refuse", "split"]

Think = StrictBool | Literal["low", "medium", "high", "max"]
"""Ollama's `think`: whether, or for some models how long, a model thinks before it answers."""

MAX_VISIBILITY_SECONDS = 43_200
"""SQS hides a message for 12 hours at most, counted from its first receive (SQS developer guide, quotas)."""


class ModelSource(Frozen):
    """Where a model comes from: a name that Ollama pulls, a GGUF object, or a Modelfile."""

    from_: str | None = Field(default=None, alias="from", min_length=1)
    modelfile: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.from_ is None) == (self.modelfile is None):
            raise ValueError("give exactly one of `from` and `modelfile`")
        return self

    def check(self) -> None:
        """Raises ValueError, in its parser's words, for what no Job could make a model of."""
        if self.pull_name is not None:
            ModelName.parse(self.pull_name)
        else:
            modelfile.parse(self.modelfile_text)

    @property
    def pull_name(self) -> str | None:
        """The name to pull, `[host[:port]/][namespace/]model[:tag]`, or None where the model is built."""
        if self.from_ is None or self.from_.startswith("s3://"):
            return None
        return self.from_.removeprefix("http://")

    @property
    def plain_http(self) -> bool:
        """Whether the registry is to be asked without TLS, which has to be said: `from: http://host:port/...`."""
        return self.from_ is not None and self.from_.startswith("http://")

    @property
    def modelfile_text(self) -> str:
        """The Modelfile that builds the model; only for sources without a `pull_name`."""
        return self.modelfile if self.modelfile is not None else f"FROM {self.from_}\n"

    @property
    def s3_objects(self) -> tuple[str, ...]:
        """The `s3://bucket/key` URLs that the model is built from: all that its Job may read."""
        base = "" if self.pull_name else modelfile.parse(self.modelfile_text).base
        return (base,) if base.startswith("s3://") else ()


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


class TaskSpec(Frozen):
    """One task: what a model is asked about every document, where documents come from, and all limits.

    What decides an answer comes first, and makes the `hash`; what follows decides when and where.
    """

    name: str
    model: ModelSpec
    prompt: str = ""
    system: str = ""
    options: Options = Options()
    think: Think | None = None
    output_schema: Mapping[str, JsonValue] | None = None
    task: TaskKind = "generate"
    long_documents: LongDocuments = "refuse"

    accepts: tuple[DocumentType, ...]
    gpus: int = Field(default=0, ge=0, description="where the model has to be resident; 0 for the CPU")

    queue_url: str
    dead_letter_url: str
    documents_bucket: str
    results_bucket: str

    parallel: int = Field(default=1, ge=1, description="documents in the server at once")
    time_limit_seconds: int = Field(default=600, gt=0, lt=MAX_VISIBILITY_SECONDS)
    attempts: int = Field(default=3, ge=1, description="tries of a document that met transient errors")
    retry_seconds: int = Field(default=21_600, gt=0, description="from the first try to the last")
    max_instances: int = Field(default=1, ge=0, description="pods that the queue may be shared with")
    visibility_seconds: int = Field(default=300, ge=3, description="extended every third of it")
    poll_seconds: int = Field(default=1, ge=1, le=20, description="one long poll; short, for a quick drain")
    grace_seconds: int = Field(default=660, gt=0, description="from SIGTERM to SIGKILL")
    max_text_bytes: int = Field(default=16 * 1024 * 1024, gt=0, description="a document of text")
    max_file_bytes: int = Field(default=64 * 1024 * 1024, gt=0, description="an image or a PDF")
    health_port: int = Field(default=8080, ge=0)

    @property
    def hash(self) -> str:
        """The identity of the answer, but for the document: 64 hex digits over model and question."""
        question = {"prompt", "system", "options", "think", "output_schema", "task", "long_documents"}
        asked = self.model_dump(mode="json", include=question, exclude_none=True)
        if self.output_schema is not None:
            # The model writes properties in the schema's order: another order is another question.
            asked["output_schema"] = json.dumps(self.output_schema)
        content = {"model": self.model.hash, **asked}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def prompt_hash(self) -> str:
        """What a record says of the prompt, without repeating it."""
        return hashlib.sha256(json.dumps([self.prompt, self.system]).encode()).hexdigest()

    @property
    def result_type(self) -> tuple[str, str]:
        """The suffix and the content type of its results."""
        if self.output_schema is not None or self.task == "embed":
            return ".json", "application/json"
        return ".txt", "text/plain; charset=utf-8"


def server_environment(*, host: str, models: str, parallel: int) -> Mapping[str, str]:
    """The environment of every Ollama server of this system, each entry with its reason.

    Args:
        host: `address:port` to bind; Ollama knows no authentication, so never but loopback.
        models: the directory that the server reads, or writes while a model is built.
        parallel: requests that it answers at once.
    """
    return {
        "OLLAMA_HOST": host,
        "OLLAMA_MODELS": models,
        "OLLAMA_NUM_PARALLEL": str(parallel),
        # Loaded once, for the pod's life: its scaling, not a timer, decides when the GPU is given back.
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        # The store is shared and its directories are immutable: no server may tidy them up at its start.
        "OLLAMA_NOPRUNE": "1",
        # Without it the server calls its vendor at start; nothing leaves the VPC.
        "OLLAMA_NO_CLOUD": "1",
        # A stall limit of the load; the default of 5 minutes was seen to be too short over NFS.
        "OLLAMA_LOAD_TIMEOUT": "15m",
    }
