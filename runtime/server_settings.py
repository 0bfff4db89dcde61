"""The settings of every Ollama server of this system, each with its reason.

Their meaning is that of Ollama 0.24.0 (envconfig/config.go, llm/server.go, server/sched.go).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from runtime.options import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_LOAD_TIMEOUT, LONGEST_LOAD_TIMEOUT = 30, 2 * 3600


def _stall(value: object) -> object:
    """`90s`, `10m` or `2h` as seconds."""
    found = re.fullmatch(r"([0-9]{1,9})(s|m|h)", value) if isinstance(value, str) else None
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    if not SHORTEST_LOAD_TIMEOUT <= seconds <= LONGEST_LOAD_TIMEOUT:
        # None at all is no choice: a load that hangs would never be given up.
        raise ValueError("must be a time such as 90s, 10m or 1h, from 30s to 2h")
    return seconds


class ServerSettings(Frozen):
    """What one model may have another way; camelCase in the stack file. What is unset, the server decides."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False)

    flash_attention: StrictBool | None = Field(
        default=None, description="unset: by the model's architecture; unsupported ones go without in silence"
    )
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] | None = Field(
        default=None, description="a half and a quarter of f16's memory, for less exact attention"
    )
    load_timeout: Annotated[int, BeforeValidator(_stall)] = Field(
        # The server's own 5 minutes were seen to be too short over NFS.
        default=900,
        description="seconds, how long a load may stand still",
    )
    sched_spread: StrictBool | None = Field(
        default=None, description="over all GPUs of the pod, also where fewer would do"
    )
    gpu_overhead: int | None = Field(
        default=None, ge=0, lt=2**40, strict=True, description="bytes of each GPU that are left alone"
    )
    max_queue: int | None = Field(
        default=None, ge=1, le=65_536, strict=True, description="waiting requests; one more is answered 503"
    )

    @field_validator("kv_cache_type")
    @classmethod
    def _quantised_by_flash_attention(cls, kind: str | None, info: ValidationInfo) -> str | None:
        if kind not in {None, "f16"} and info.data.get("flash_attention") is not True:
            # The server says so in its log only, and takes f16 and twice the memory that was reckoned with.
            raise ValueError("needs `flashAttention: true`: without it the server keeps to f16")
        return kind


DEFAULT_SETTINGS = ServerSettings()


def server_environment(
    *,
    host: str,
    models: str,
    parallel: int,
    settings: ServerSettings = DEFAULT_SETTINGS,
    context_tokens: int | None = None,
) -> Mapping[str, str]:
    """The environment of every Ollama server of this system, each entry with its reason.

    Args:
        host: `address:port` to bind; Ollama knows no authentication, so never but loopback.
        models: the directory that the server reads, or writes while a model is built.
        parallel: requests that it answers at once.
        settings: what the model has another way.
        context_tokens: for requests that name no `num_ctx`.
    """
    fixed = {
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
        # A stall limit of the load.
        "OLLAMA_LOAD_TIMEOUT": f"{settings.load_timeout}s",
    }
    chosen = {
        # The worker's requests all name it. Another container's, or a person's by hand, would get 4,096
        # tokens on a GPU of 22 GiB and 32,768 on one of 24, whatever the memory was reckoned with.
        "OLLAMA_CONTEXT_LENGTH": context_tokens,
        "OLLAMA_FLASH_ATTENTION": settings.flash_attention,
        "OLLAMA_KV_CACHE_TYPE": settings.kv_cache_type,
        "OLLAMA_SCHED_SPREAD": settings.sched_spread,
        "OLLAMA_GPU_OVERHEAD": settings.gpu_overhead,
        "OLLAMA_MAX_QUEUE": settings.max_queue,
    }
    return fixed | {
        name: str(int(value) if isinstance(value, bool) else value)
        for name, value in chosen.items()
        if value is not None
    }
