"""The settings of a model's server: what a stack file may say, and the environment that comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runtime.server_settings import ServerSettings, server_environment

FIXED = {
    "OLLAMA_HOST": "127.0.0.1:1",
    "OLLAMA_MODELS": "/models/x",
    "OLLAMA_NUM_PARALLEL": "2",
    "OLLAMA_KEEP_ALIVE": "-1",
    "OLLAMA_MAX_LOADED_MODELS": "1",
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_NO_CLOUD": "1",
    "OLLAMA_LOAD_TIMEOUT": "900s",
}


def test_the_environment_without_settings() -> None:
    """What is fixed is there, and nothing that the server had better decide by itself."""
    assert server_environment(host="127.0.0.1:1", models="/models/x", parallel=2) == FIXED
    assert (
        server_environment(host="127.0.0.1:1", models="/models/x", parallel=2, settings=ServerSettings())
        == FIXED
    )


def test_the_environment_with_all_settings() -> None:
    """Each setting is one variable, in the form that the server parses; what is fixed stays."""
    settings = ServerSettings.model_validate(
        {
            "flashAttention": True,
            "kvCacheType": "q8_0",
            "loadTimeout": "1h",
            "schedSpread": False,
            "gpuOverhead": 1_073_741_824,
            "maxQueue": 64,
        }
    )
    assert server_environment(
        host="127.0.0.1:1", models="/models/x", parallel=2, settings=settings, context_tokens=8192
    ) == {
        **FIXED,
        "OLLAMA_LOAD_TIMEOUT": "3600s",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_SCHED_SPREAD": "0",
        "OLLAMA_GPU_OVERHEAD": "1073741824",
        "OLLAMA_MAX_QUEUE": "64",
    }


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
@pytest.mark.parametrize("flash", [{}, {"flashAttention": False}])
def test_a_quantised_cache_needs_flash_attention(kind: str, flash: dict[str, bool]) -> None:
    """The server would keep to f16 and say so in its log only (llm/server.go)."""
    with pytest.raises(ValidationError, match="needs `flashAttention: true`: without it the server keeps"):
        ServerSettings.model_validate({**flash, "kvCacheType": kind})
    assert ServerSettings.model_validate({"flashAttention": True, "kvCacheType": kind}).kv_cache_type == kind
    assert ServerSettings.model_validate({**flash, "kvCacheType": "f16"}).kv_cache_type == "f16"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kvCacheType": "q5_1"},
        {"flashAttention": "yes"},
        {"schedSpread": 1},
        {"gpuOverhead": -1},
        {"gpuOverhead": "1GiB"},
        {"gpuOverhead": 2**40},
        {"maxQueue": 0},
        {"maxQueue": True},
        {"loadTimeout": "29s"},
        {"loadTimeout": "7201s"},
        {"loadTimeout": "0s"},
        {"loadTimeout": 900},
        {"loadTimeout": "-1"},
        {"keepAlive": "5m"},
        {"host": "127.0.0.1"},
        {"kv_cache_type": "f16"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    """Values that the server would replace by its defaults without a word, and what this system fixes."""
    with pytest.raises(ValidationError):
        ServerSettings.model_validate(wrong)


@pytest.mark.parametrize(("said", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200)])
def test_the_load_timeout_is_a_duration(said: str, seconds: int) -> None:
    """Both bounds are in."""
    assert ServerSettings.model_validate({"loadTimeout": said}).load_timeout == seconds
