"""Fixtures of the worker tier: moto, a scripted Ollama, and a rig that joins them with worker processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from tests.worker import rig as rigs
from tests.worker import scripted_ollama

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import ScriptedOllama


@pytest.fixture(scope="session")
def moto() -> Generator[str]:
    """AWS on a free loopback port; its state is the process's, so each test makes names of its own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


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
