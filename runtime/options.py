"""Ollama's request options, within the bounds in which the server does what it is told."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A value that never changes and that knows no field but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    def to_json(self) -> str:
        """The value as JSON, always the same text for the same value; maps keep the order that they have."""
        return json.dumps(
            self.model_dump(mode="json", by_alias=True, exclude_none=True),
            separators=(",", ":"),
            ensure_ascii=False,
        )


class Sampling(Frozen):
    """How an answer is drawn, under Ollama's own names; all that one document may ask for its own way.

    Beyond these bounds server 0.24.0 wraps numbers around, answers nothing, or takes its runner down (each
    was tried). Models on its newer engine heed the first five only.
    """

    temperature: float | None = Field(default=None, ge=0, le=100)
    top_k: int | None = Field(default=None, ge=0, lt=2**31)
    top_p: float | None = Field(default=None, ge=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**32 - 1, description="the bound itself: at random")
    repeat_last_n: int | None = Field(default=None, ge=0, le=65_536, description="tokens, 4 bytes each")
    repeat_penalty: float | None = Field(default=None, gt=0, le=100)
    presence_penalty: float | None = Field(default=None, ge=-100, le=100)
    frequency_penalty: float | None = Field(default=None, ge=-100, le=100)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = None


class Options(Sampling):
    """Ollama's request options, under Ollama's own names (`api.Options` of the server version).

    The first five are runner options: a request whose runner options differ from those of the loaded model
    reloads it under everybody else, so one task sends one set, always.
    """

    num_ctx: int = Field(default=8192, ge=128, lt=2**31, description="tokens of prompt and answer together")
    num_batch: int | None = Field(default=None, ge=1, lt=2**31)
    num_gpu: int | None = Field(default=None, ge=0, lt=1000, description="layers on the GPU; by default all")
    num_thread: int | None = Field(default=None, ge=1, le=512)
    use_mmap: bool = Field(default=False, description="off: over NFS, mmap faults in small pieces")

    num_predict: int = Field(default=2048, ge=1, description="tokens of the answer; never endless")

    def wire(self) -> dict[str, object]:
        """The options as Ollama's API takes them; what is unset stays with the model's own default."""
        return self.model_dump(mode="json", exclude_none=True)
