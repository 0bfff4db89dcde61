"""Fixtures that more than one tier uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli import tiny_model, toolchain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def ollama_binary() -> Path:
    """The pinned Ollama server: tests never run another one."""
    return toolchain.pinned_ollama()


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model whose every answer ends by itself."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    tiny_model.write(path)
    return path
