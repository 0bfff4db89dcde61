"""What a store does to a run: full, read-only, damaged. A small file system of its own, so it takes root."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.worker.provision.campaign import wrongs
from tests.worker.provision.command import finish, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.worker.provision.command import Command
    from tests.worker.registry import Registry

RESERVE = 16 * 1024 * 1024


@pytest.fixture
def mounted(command: Command) -> Iterator[Command]:
    """The command, its store a file system of 24 MB in memory."""
    command.store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={RESERVE * 3 // 2}", "tmpfs", command.store]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        sentence = "a full or read-only store is a mount of its own, which takes root: run the tests as root"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(sentence)
    yield command
    subprocess.run(["umount", "--lazy", command.store], check=True)


def _fill(folder: Path, leave: int = 0) -> Path:
    """Takes the room of the file system, but for so many bytes."""
    path = folder / "filler"
    state = os.statvfs(folder)
    with path.open("wb", buffering=0) as file:
        try:
            file.write(bytes(state.f_bavail * state.f_frsize - leave))
            while not leave:
                file.write(bytes(state.f_frsize))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  another than this is a fault of the test
    return path


def test_a_model_that_does_not_fit_is_not_begun(mounted: Command, models: Registry) -> None:
    """Exit code 69, with what it needs and what is free in bytes; no blob was asked for; room mends it."""
    filler = _fill(mounted.store, leave=RESERVE)
    spec = mounted.spec(**{"from": models.name()})
    code, sentence = refused(mounted.run(spec))
    needed = sum(path.stat().st_size for path in (models.models / "blobs").iterdir())
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith(f"model {models.host}/library/tiny:latest needs ")
    assert int(sentence.partition("(")[2].partition(" ")[0]) <= needed
    assert f" are free at {mounted.store}/.staging/" in sentence
    assert not any("/blobs/" in request for request in models.asked)
    filler.unlink()
    assert mounted.run(spec)[0] == 0


def test_a_disk_that_fills_up_meanwhile_is_an_error_that_leaves_no_rubbish(
    mounted: Command, models: Registry
) -> None:
    """Exit code 69 in the system's words, with no further try; the download makes room; a rerun finishes."""
    models.bytes_per_second = 100_000
    spec = mounted.spec(**{"from": models.name()})
    process = mounted.start(spec, retry_seconds=(60,))
    assert models.moving.wait(60)
    filler = _fill(mounted.store)
    models.bytes_per_second = None
    code, sentence = refused(finish(process))
    assert code == os.EX_UNAVAILABLE
    assert "no space left on device" in sentence.lower()
    assert mounted.staged() == set()
    filler.unlink()
    assert mounted.run(spec)[0] == 0
    assert wrongs(Path(spec.directory)) == []


def test_a_store_that_cannot_be_written_still_has_what_it_has(mounted: Command, models: Registry) -> None:
    """A published model is a hit; another one is refused in the file system's words."""
    spec = mounted.spec(**{"from": models.name()})
    assert mounted.run(spec)[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", mounted.store], check=True)
    assert mounted.run(spec) == (0, [])
    code, sentence = refused(mounted.run(mounted.spec(**{"from": models.name("full")})))
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith("the file system refuses: [Errno 30] Read-only file system: ")


def test_a_damaged_blob_of_the_pool_is_downloaded_again(command: Command, models: Registry) -> None:
    """The second model on the base is right, whatever has happened to the first one, which the log names."""
    first, second = (command.spec(**{"from": models.name(name)}) for name in ("tiny", "full"))
    assert command.run(first)[0] == 0
    weights = max((command.store / ".blobs").iterdir(), key=lambda path: path.stat().st_size)
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, lines = command.run(second)
    assert code == 0
    (warning,) = [line for line in lines if line["level"] == "warning"]
    assert warning["models"] == [first.hash]
    assert wrongs(Path(second.directory)) == []
    assert weights.read_bytes() == content


@pytest.mark.parametrize("damage", ["truncated", "blob lost", "marker lost"])
def test_a_published_model_that_is_damaged_is_made_anew(
    command: Command, models: Registry, damage: str
) -> None:
    """A Job finds what has not its bytes any more, without reading it, and the next start has all of it."""
    spec = command.spec(**{"from": models.name("tiny")})
    assert command.run(spec)[0] == 0
    directory = Path(spec.directory)
    whole = {path.name: path.stat().st_size for path in (directory / "blobs").iterdir()}
    largest = max((directory / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    match damage:
        case "truncated":
            os.truncate(largest, 100)
        case "blob lost":
            largest.unlink()
        case _:
            (directory / "model.json").unlink()
    assert command.run(spec)[0] == 0
    assert {path.name: path.stat().st_size for path in (directory / "blobs").iterdir()} == whole
    assert (directory / "model.json").exists()
    assert command.staged() == set()


def test_a_registry_that_dies_half_way_is_gone_on_from(command: Command, models: Registry) -> None:
    """Silence in the middle ends the run with exit code 69; the next one asks for the rest only."""
    size = max(path.stat().st_size for path in (models.models / "blobs").iterdir())
    models.cut_after, models.cuts = size // 2, 1
    models.hang_on = None
    spec = command.spec(**{"from": models.name()})
    process = command.start(spec, stall_seconds=3)
    assert models.moving.wait(60)
    models.hang_on = "GET /v2/library/tiny/blobs"
    code, sentence = refused(finish(process))
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith(f"registry {models.host} has sent nothing of model ")
    sent, models.hang_on = models.sent, None
    assert command.run(spec)[0] == 0
    assert models.sent - sent < size * 0.7
    assert command.staged() == set()
