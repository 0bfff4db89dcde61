"""A model's way into its directory, by the real command and the real pinned server.

The registry and S3 are stand-ins. What this cannot show: network file systems.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from runtime.command import MARKER
from tests.worker import ollama_server
from tests.worker.provision.command import MANIFESTS, layers, tree

if TYPE_CHECKING:
    from tests.worker.provision.command import Command
    from tests.worker.registry import Registry


def test_a_modelfile_becomes_the_model_that_ollama_itself_would_make(
    command: Command, modelfile: str, created: Path
) -> None:
    """Same layers, same bytes, as `ollama create -f`; besides them only manifest and marker; no staging."""
    spec = command.spec(modelfile=modelfile)
    # The proxy of a cluster is for what is outside, not for the server on loopback.
    code, lines = command.run(spec, HTTP_PROXY="http://127.0.0.1:9")
    assert (code, lines[-1]["event"]) == (0, "published")
    directory = Path(spec.directory)
    manifest = directory / MANIFESTS / "built" / "latest"
    assert layers(manifest) == layers(created / MANIFESTS / "full" / "latest")
    blobs = {f"blobs/{digest.replace(':', '-')}": digest[7:] for _, digest, _ in layers(manifest)}
    published = tree(directory)
    assert published.keys() == {*blobs, MARKER, f"{MANIFESTS}/built/latest"}
    assert blobs.items() <= published.items()
    assert command.staged() == set()


def test_the_directory_is_readable_for_every_user_and_says_what_it_holds(
    command: Command, tiny_gguf: Path
) -> None:
    """Files are 0644 and directories 0755 whatever the umask; the marker's figures are those of the files."""
    spec = command.spec(modelfile=f"FROM {tiny_gguf}")
    before = os.umask(0o077)
    try:
        assert command.run(spec)[0] == 0
    finally:
        os.umask(before)
    directory = Path(spec.directory)
    paths = [directory, *directory.rglob("*")]
    assert {(path.is_dir(), path.stat().st_mode & 0o777) for path in paths} == {(True, 0o755), (False, 0o644)}
    manifest = directory / MANIFESTS / "built" / "latest"
    assert json.loads((directory / MARKER).read_text()) == {
        "reference": "built:latest",
        "digest": f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}",
        "bytes": sum(path.stat().st_size for path in (directory / "blobs").iterdir()),
        "source": {"modelfile": f"FROM {tiny_gguf}"},
        "server_version": spec.server_version,
    }


def test_a_model_has_one_digest_wherever_it_is_made(
    command: Command, tiny_gguf: Path, tmp_path: Path
) -> None:
    """Two pods with two stores publish the same bytes, though the server notes the directory it works in."""
    one = command.spec(modelfile=f"FROM {tiny_gguf}")
    other = one.model_copy(update={"store": str(tmp_path / "another")})
    assert [command.run(one, pod="a")[0], command.run(other, pod="b")[0]] == [0, 0]
    assert tree(Path(one.directory)) == tree(Path(other.directory))


def test_an_object_in_s3_becomes_a_model(command: Command, tiny_gguf: Path, s3: Any) -> None:  # noqa: ANN401
    """The object's bytes are the model's layer, whether a Modelfile names it or the stack's `from`."""
    s3.upload_file(str(tiny_gguf), "weights", "a folder/tiny.gguf")
    url = "s3://weights/a folder/tiny.gguf"
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    for spec in (command.spec(**{"from": url}), command.spec(modelfile=f'FROM "{url}"')):
        assert command.run(spec)[0] == 0
        assert tree(Path(spec.directory))[f"blobs/sha256-{digest}"] == digest


def test_a_pulled_model_is_the_registry_s_to_the_byte(command: Command, models: Registry) -> None:
    """The manifest keeps its bytes, so that its digest is the registry's; progress is told once a second."""
    spec = command.spec(**{"from": models.name()})
    code, lines = command.run(spec)
    assert (code, lines[-1]["event"]) == (0, "published")
    directory = Path(spec.directory)
    host = f"127.0.0.1:{models.server_port}"
    manifest = directory / "manifests" / host / "library" / "tiny" / "latest"
    assert manifest.read_bytes() == models.manifest("library", "tiny", "latest")
    assert json.loads((directory / MARKER).read_text())["reference"] == f"{host}/library/tiny:latest"

    progress = [line for line in lines if line["event"] == "progress"]
    assert {*progress[0]} == {
        "event",
        "level",
        "timestamp",
        "status",
        "bytes",
        "total",
        "bytes_per_second",
        "eta_seconds",
    }
    times = [datetime.fromisoformat(line["timestamp"]) for line in progress]
    assert all((later - earlier).total_seconds() > 0.9 for earlier, later in itertools.pairwise(times))


def test_a_base_is_pulled_and_does_not_stay(command: Command, models: Registry) -> None:
    """A model built on a registry's model keeps what its manifest names, and not the base's own manifest."""
    spec = command.spec(modelfile=f"FROM {models.name()}\nSYSTEM Be brief.\n")
    assert command.run(spec)[0] == 0
    directory = Path(spec.directory)
    manifest = directory / MANIFESTS / "built" / "latest"
    named = {digest.replace(":", "-") for _, digest, _ in layers(manifest)}
    assert {path.name for path in (directory / "blobs").iterdir()} == named
    assert [path for path in (directory / "manifests").rglob("*") if path.is_file()] == [manifest]


def test_a_published_model_costs_nothing(command: Command, tiny_gguf: Path) -> None:
    """A second run starts no server, for there is none to start, imports no client, and changes no file."""
    spec = command.spec(modelfile=f"FROM {tiny_gguf}")
    assert command.run(spec)[0] == 0

    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in command.store.rglob("*")}

    before = state()
    path = command.folder / "spec.json"
    path.write_text(spec.to_json())
    check = (
        "import sys; from runtime.provision import main; main(); print({'httpx', 'boto3'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, path],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
    assert state() == before


def test_a_read_only_published_model_answers(command: Command, tiny_gguf: Path, ollama_binary: Path) -> None:
    """A server over the published directory, from which write permission is taken, loads it and answers."""
    spec = command.spec(modelfile=f"FROM {tiny_gguf}")
    assert command.run(spec)[0] == 0
    directory = Path(spec.directory)
    paths = [directory, *directory.rglob("*")]
    before = tree(directory)
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        with ollama_server.running(ollama_binary, directory) as url:
            request = {"model": spec.reference, "prompt": "Say it.", "stream": False}
            answer = httpx.post(f"{url}/api/generate", json=request, timeout=60).raise_for_status().json()
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)
    assert (answer["done"], answer["done_reason"]) == (True, "stop")
    assert tree(directory) == before
