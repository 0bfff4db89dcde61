"""`ollama-eks pin` and the real pinned Ollama: both say the same of one registry."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from runtime.command import MARKER
from tests.worker import ollama_server, registry
from tests.worker.provision.command import Command, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.spec import ModelSpec
    from tests.worker.registry import Registry

MANIFEST = "manifests/registry.ollama.ai/library/tiny/latest"


@pytest.fixture(scope="module")
def created(ollama_binary: Path, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory by Ollama itself."""
    models = tmp_path_factory.mktemp("created") / "models"
    with ollama_server.running(ollama_binary, models) as url:
        ollama_server.create(url, "tiny", tiny_gguf)
    return models


@pytest.fixture
def models(created: Path, tmp_path: Path) -> Iterator[Registry]:
    """A registry that has the model `library/tiny:latest`, of this test's own."""
    folder = tmp_path / "registry"
    shutil.copytree(created, folder)
    with registry.running(folder) as serving:
        yield serving


@pytest.fixture
def stack(models: Registry, tmp_path: Path) -> Path:
    """A stack file with one model of that registry."""
    path = tmp_path / "Pulumi.test.yaml"
    path.write_text(f"config:\n  ollama-eks:models:\n    - name: a\n      from: {models.name()} # why\n")
    return path


def _pin(*arguments: object) -> subprocess.CompletedProcess[str]:
    # The proxy is for what is outside, not for the registry on loopback.
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "cli.main", "pin", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _move(models: Registry) -> None:
    """Puts another manifest under the tag: the same model, said in other words."""
    manifest = models.models / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()), indent=3))


def _pulled(ollama_binary: Path, models: Registry, store: Path) -> tuple[str, str]:
    """What Ollama makes of the tag: the digest of its manifest's file, and the one that it shows."""
    with ollama_server.running(ollama_binary, store) as url, httpx.Client(base_url=url, timeout=60) as http:
        name = models.name().removeprefix("http://")
        done = http.post("/api/pull", json={"model": name, "insecure": True, "stream": False})
        assert done.json() == {"status": "success"}
        (shown,) = http.get("/api/tags").json()["models"]
    host = name.partition("/")[0]
    file = store / "manifests" / host / "library" / "tiny" / "latest"
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}", f"sha256:{shown['digest']}"


def _digest(stack: Path) -> str:
    (model,) = yaml.safe_load(stack.read_text())["config"]["ollama-eks:models"]
    return model["digest"]


@pytest.mark.parametrize("moved", [False, True])
def test_the_digest_is_the_one_that_ollama_stores_and_shows(
    ollama_binary: Path, models: Registry, stack: Path, tmp_path: Path, *, moved: bool
) -> None:
    """Whoever wrote the manifest, and however: it is over the bytes that are served."""
    if moved:
        _move(models)
    done = _pin(stack)
    assert done.returncode == 0, done.stderr
    digest = _digest(stack)
    assert _pulled(ollama_binary, models, tmp_path / "store") == (digest, digest)
    assert stack.read_text().endswith(f"{models.name()} # why\n      digest: {digest}\n")


def test_a_tag_that_moved_is_told_and_followed_only_when_asked(models: Registry, stack: Path) -> None:
    """`--check` finds it and writes nothing; without it the new digest comes in the old one's place."""
    assert _pin(stack).returncode == 0
    text, old = stack.read_text(), _digest(stack)
    assert _pin(stack, "--check").returncode == 0
    _move(models)
    new = f"sha256:{hashlib.sha256((models.models / MANIFEST).read_bytes()).hexdigest()}"
    checked = _pin(stack, "--check")
    sentence = f"a: {models.name()} has moved from {old} to {new}"
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (1, sentence)
    assert stack.read_text() == text
    followed = _pin(stack)
    assert (followed.returncode, followed.stdout.splitlines()[-1]) == (0, sentence)
    assert stack.read_text() == text.replace(old, new)


def test_what_is_pinned_is_what_the_store_gets(
    ollama_binary: Path, models: Registry, stack: Path, tmp_path: Path
) -> None:
    """The Job takes that manifest, and none that comes under the tag later until it is pinned."""
    folder = tmp_path / "job"
    folder.mkdir()
    command = Command(ollama_binary, folder)
    spec = _pinned_spec(command, models, stack)
    code, lines = command.run(spec)
    assert code == 0, lines
    assert json.loads(Path(spec.directory, MARKER).read_text())["digest"] == spec.source.digest
    shutil.rmtree(command.store)
    _move(models)
    code, sentence = refused(command.run(spec))
    assert code == os.EX_DATAERR
    assert f"is pinned to {spec.source.digest}" in sentence
    assert command.run(_pinned_spec(command, models, stack))[0] == 0


def _pinned_spec(command: Command, models: Registry, stack: Path) -> ModelSpec:
    assert _pin(stack).returncode == 0
    return command.spec(**{"from": models.name(), "digest": _digest(stack)})


def test_a_registry_that_is_gone_is_a_sentence(created: Path, tmp_path: Path) -> None:
    """No traceback; the file is as it was."""
    with registry.running(created) as serving:
        name = serving.name()
    stack = tmp_path / "Pulumi.test.yaml"
    text = f"config: {{'ollama-eks:models': [{{name: a, from: {name}}}]}}\n"
    stack.write_text(text)
    done = _pin(stack)
    host = name.split("/")[2]
    assert (done.returncode, done.stdout, stack.read_text()) == (2, "", text)
    assert done.stderr.splitlines() == [
        f"error: model a: {host} cannot be asked for library/tiny:latest: [Errno 111] Connection refused",
        f"{stack} is as it was",
    ]
