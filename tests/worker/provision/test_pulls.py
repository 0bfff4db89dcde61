"""What the store holds after pulls: a directory for each name, shared bytes, nothing not asked for."""

from __future__ import annotations

import os
import shutil
import signal
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.ollama import manifests
from tests.worker.provision.command import finish, refused, tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.worker.provision.command import Command
    from tests.worker.registry import Registry


def largest(models: Path) -> Path:
    """The blob with the weights."""
    return max((models / "blobs").iterdir(), key=lambda path: path.stat().st_size)


def held(store: Path) -> int:
    """The bytes that the store's files take, each inode once."""
    states = [path.stat() for path in store.rglob("*") if path.is_file()]
    return sum({state.st_ino: state.st_size for state in states}.values())


def _parts(store: Path) -> list[Path]:
    return [*store.glob(".staging/*/model/blobs/*-partial-*")]


def _await(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_namespace_and_a_tag_are_asked_for_as_they_stand(command: Command, models: Registry) -> None:
    """Another namespace's model under another tag arrives, from a registry that keeps its blobs elsewhere."""
    models.redirects = True
    path = models.manifest_path("acme", "tiny", "v2-q8_0")
    path.parent.mkdir(parents=True)
    shutil.copy(models.manifest_path("library", "tiny", "latest"), path)
    spec = command.spec(**{"from": models.name("tiny:v2-q8_0", "acme")})
    assert command.run(spec)[0] == 0
    manifest = Path(spec.directory, "manifests", models.host, "acme", "tiny", "v2-q8_0")
    assert manifest.read_bytes() == path.read_bytes()


def test_two_models_of_one_base_share_its_bytes(command: Command, models: Registry) -> None:
    """The second model, pulled or built, adds its own small blobs to the disk and asks for no byte twice."""
    first = command.spec(**{"from": models.name()})
    assert command.run(first)[0] == 0
    before, sent = held(command.store), models.sent
    weights = largest(Path(first.directory))

    pulled = command.spec(**{"from": models.name("full")})
    built = command.spec(modelfile=f"FROM {models.name()}\nSYSTEM Be brief.\n")
    for spec in (pulled, built):
        assert command.run(spec)[0] == 0
        assert largest(Path(spec.directory)).samefile(weights)
    assert held(command.store) - before < weights.stat().st_size / 20
    assert models.sent - sent < weights.stat().st_size / 20


def test_a_tag_that_moves_changes_nothing_until_asked(command: Command, models: Registry) -> None:
    """The directory of the same spec stays; a spec that is pinned to the new digest becomes another one."""
    spec = command.spec(**{"from": models.name()})
    assert command.run(spec)[0] == 0
    before, asked = tree(Path(spec.directory)), len(models.asked)
    shutil.copy(
        models.manifest_path("library", "full", "latest"), models.manifest_path("library", "tiny", "latest")
    )
    assert command.run(spec) == (0, [])
    assert (tree(Path(spec.directory)), len(models.asked)) == (before, asked)

    moved = manifests.digest_of(models.manifest("library", "tiny", "latest") or b"")
    pinned = command.spec(**{"from": models.name()}, digest=moved)
    assert command.run(pinned)[0] == 0
    assert pinned.directory != spec.directory
    assert tree(Path(spec.directory)) == before


@pytest.mark.parametrize("built", [False, True])
def test_another_model_than_the_pinned_one_is_not_even_downloaded(
    command: Command, models: Registry, *, built: bool
) -> None:
    """Exit code 65, both digests and the way out are named, and not one byte of a blob was asked for."""
    pin, name = f"sha256:{'0' * 64}", models.name()
    spec = (
        command.spec(modelfile=f"FROM {name}\nSYSTEM x", digest=pin)
        if built
        else command.spec(**{"from": name}, digest=pin)
    )
    code, sentence = refused(command.run(spec))
    there = manifests.digest_of(models.manifest("library", "tiny", "latest") or b"")
    assert code == os.EX_DATAERR
    assert sentence == (
        f"model {models.host}/library/tiny:latest is pinned to {pin}, and registry {models.host} has {there} "
        "under that tag now, so nothing was downloaded: take the new one (`ollama-eks pin` writes it to the "
        "stack file), or name a tag that still has the pinned one"
    )
    assert not any("/blobs/" in request for request in models.asked)
    assert command.staged() == set()


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
def test_a_registry_that_refuses_is_not_asked_again(
    command: Command, models: Registry, status: HTTPStatus
) -> None:
    """Exit code 65 at once, whatever pauses are left."""
    models.refuses = status
    spec = command.spec(**{"from": models.name()})
    code, sentence = refused(command.run(spec, retry_seconds=(60,)))
    assert code == os.EX_DATAERR
    assert sentence.startswith(f"registry {models.host} refuses model {models.host}/library/tiny:latest: ")


def test_a_registry_that_comes_back_is_asked_again(command: Command, models: Registry) -> None:
    """A registry that is out of order for a while brings the model in one run, its pauses in the log."""
    models.refuses = HTTPStatus.SERVICE_UNAVAILABLE
    process = command.start(command.spec(**{"from": models.name()}), retry_seconds=(0.1,) * 50)
    assert process.stdout is not None
    for line in process.stdout:
        if "trying again" in line:
            models.refuses = None
            break
    code, lines = finish(process)
    assert (code, lines[-1]["event"]) == (0, "published")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_another_pod_goes_on_where_one_was_ended(
    command: Command, models: Registry, end: signal.Signals
) -> None:
    """What an ended run has downloaded is not asked for again, in parts as the server has noted them.

    It notes a part when the connection ends: by itself, as here before the kill, or by its client's end.
    """
    spec = command.spec(**{"from": models.name()})
    size = largest(models.models).stat().st_size
    models.cut_after, models.cuts = size // 2, 1 if end == signal.SIGKILL else 0
    models.bytes_per_second = None if end == signal.SIGKILL else 100_000
    process = command.start(spec, pod="a")
    assert models.moving.wait(60)
    if end == signal.SIGKILL:
        _await(lambda: any('"Completed":0' not in path.read_text() for path in _parts(command.store)))
    else:
        _await(lambda: models.sent > size // 2)
    os.killpg(process.pid, end) if end == signal.SIGKILL else process.terminate()
    finish(process)
    sent, models.bytes_per_second = models.sent, None
    assert command.run(spec, pod="b")[0] == 0
    assert models.sent - sent < size * 0.7
    assert command.staged() == set()
