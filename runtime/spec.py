"""The seam between the program and the pods: everything that one model's task is, as one typed value.

The program writes a spec as JSON into a ConfigMap, the pods parse the same type. There is no second list of
names to keep in step: what a pod needs to know is a field here, or an environment variable of Ollama's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping  # noqa: TC003  pydantic reads it
from typing import Literal

from pydantic import Field, JsonValue, StrictBool

from runtime.metric_names import METRICS_NAMESPACE
from runtime.model import ModelSource, ModelSpec, Quantization
from runtime.options import Frozen, Options, Sampling
from runtime.schemas import check_schema
from runtime.server_settings import ServerSettings, server_environment
from runtime.template import names as prompt_inputs

__all__ = [
    "MAX_VISIBILITY_SECONDS",
    "METRICS_NAMESPACE",
    "MODEL_ANNOTATION",
    "DocumentType",
    "Frozen",
    "LongDocuments",
    "ModelSource",
    "ModelSpec",
    "Options",
    "Quantization",
    "Sampling",
    "ServerSettings",
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

MODEL_ANNOTATION = "ollama-eks/model"
"""On every pod template that needs a model of the store: its hash, which garbage collection looks for."""


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
    after: str | None = Field(default=None, description="the task whose results are this one's documents")

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
    def source(self) -> str:
        """Under what its documents lie, as `s3://bucket/prefix/`."""
        if self.after is None:
            return f"s3://{self.documents_bucket}/{self.name}/"
        return f"s3://{self.results_bucket}/{self.after}/"

    @property
    def result_type(self) -> tuple[str, str]:
        """The suffix and the content type of its results."""
        if self.output_schema is not None or self.task == "embed":
            return ".json", "application/json"
        return ".txt", "text/plain; charset=utf-8"
