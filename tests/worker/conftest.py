"""Fixtures of the worker tier: moto, a scripted Ollama, and a rig that joins them with worker processes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.worker import moto_server, scripted_ollama
from tests.worker import rig as rigs

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama


@pytest.fixture(scope="session")
def moto() -> Generator[str]:
    """AWS on a free loopback port; its state is the process's, so each test makes names of its own."""
    with moto_server.running() as endpoint:
        yield endpoint


@pytest.fixture
def name() -> str:
    """A name of the test's own for queue and bucket."""
    return f"faults-{secrets.token_hex(4)}"


@pytest.fixture
def ollama() -> Generator[ScriptedOllama]:
    """A scripted server."""
    with scripted_ollama.running() as server:
        yield server


@pytest.fixture
def rig(moto: str, ollama: ScriptedOllama, tmp_path: Path) -> Generator[Rig]:
    """Buckets, queues and rules of one model, asked of the scripted server."""
    made = rigs.make(moto, tmp_path, ollama.host)
    yield made
    made.close()
