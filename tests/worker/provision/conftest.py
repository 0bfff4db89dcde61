"""What a model can come from: a Modelfile, a registry, S3."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.worker import ollama_server, registry
from tests.worker.provision.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.worker.registry import Registry

SETTINGS = '''
TEMPLATE """{{ .System }}
{{ .Prompt }}"""
SYSTEM "Answer with JSON: {"a": 1}"
PARAMETER temperature 0.8
PARAMETER num_ctx 512
PARAMETER stop "###"
PARAMETER stop "two words"
LICENSE """Free
for all"""
MESSAGE user Hello
MESSAGE assistant "Hi: there"
'''


@pytest.fixture
def command(ollama_binary: Path, tmp_path: Path) -> Command:
    """The command, with an empty store."""
    return Command(ollama_binary, tmp_path)


@pytest.fixture(scope="session")
def modelfile(tiny_gguf: Path) -> str:
    """A Modelfile with every supported command."""
    return f"FROM {tiny_gguf}{SETTINGS}"


@pytest.fixture(scope="session")
def created(
    ollama_binary: Path, tiny_gguf: Path, modelfile: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model directory by Ollama itself: `full`, made of the Modelfile, and `tiny`, of its base alone."""
    folder = tmp_path_factory.mktemp("created")
    with ollama_server.running(ollama_binary, folder / "models") as url:
        for name, text in {"full": modelfile, "tiny": f"FROM {tiny_gguf}"}.items():
            path = folder / name
            path.write_text(text)
            subprocess.run(
                [ollama_binary, "create", name, "-f", path],
                env={"OLLAMA_HOST": url, "HOME": str(folder)},
                check=True,
                capture_output=True,
            )
    return folder / "models"


@pytest.fixture
def models(created: Path, tmp_path: Path) -> Iterator[Registry]:
    """A registry, for one test alone, that has the models `library/tiny:latest` and `library/full:latest`."""
    shutil.copytree(created, tmp_path / "registry")
    with registry.running(tmp_path / "registry") as serving:
        yield serving


@pytest.fixture
def s3(command: Command) -> Iterator[Any]:
    """A client of an S3 that the command is pointed to too, with the bucket `weights`."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    command.environment["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  moto asks for no real one
    )
    client.create_bucket(Bucket="weights")
    yield client
    client.close()
    server.stop()
