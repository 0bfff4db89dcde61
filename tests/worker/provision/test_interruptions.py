"""What rivals, kills and damage leave behind: one whole model, or none."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.command import MARKER, CommandError
from runtime.ollama import publishing
from tests.worker.provision.command import finish, refused, tree

if TYPE_CHECKING:
    from tests.worker.provision.command import Command
    from tests.worker.registry import Registry


def test_two_pods_at_once_publish_one_model(command: Command, models: Registry) -> None:
    """Both succeed, whoever is first; one directory and its blobs' pool result, and no staging."""
    spec = command.spec(**{"from": models.name()})
    racing = [command.start(spec, pod=pod) for pod in ("a", "b")]
    outcomes = [finish(process) for process in racing]
    assert [(code, lines[-1]["event"]) for code, lines in outcomes] == [(0, "published")] * 2
    assert {path.name for path in command.store.iterdir()} == {spec.hash, ".staging", ".blobs"}
    assert MARKER in tree(Path(spec.directory))
    assert command.staged() == set()


def test_losing_the_race_is_success_and_anything_else_in_the_way_is_not(
    command: Command, created: Path
) -> None:
    """A published directory stays as it is; one without a marker is named, for the next run to remove."""
    spec = command.spec(**{"from": "tiny"})
    staging = command.store / ".staging" / "pod"
    directory = Path(spec.directory)
    directory.mkdir(parents=True)
    (directory / "rubbish").touch()
    shutil.copytree(created, staging)
    with pytest.raises(CommandError, match=f"^{directory} is in the way and holds no model.json") as caught:
        publishing.publish(spec, staging)
    assert caught.value.exit_code == os.EX_UNAVAILABLE

    (directory / MARKER).touch()
    before = tree(directory)
    publishing.publish(spec, staging)
    assert tree(directory) == before


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_wrong_bytes_in_the_store_are_refused(command: Command, created: Path, damage: str) -> None:
    """What the server trusts because it is there is hashed all the same before it is published."""
    spec = command.spec(**{"from": "tiny"})
    staging = command.store / ".staging" / "pod"
    shutil.copytree(created, staging)
    blob = max((staging / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    if damage == "missing":
        blob.unlink()
    else:
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CommandError, match=r"^a blob of tiny is damaged: sha256:") as caught:
        publishing.publish(spec, staging)
    assert caught.value.exit_code == os.EX_UNAVAILABLE
    assert not Path(spec.directory).exists()


def test_a_killed_run_leaves_rubbish_that_the_next_one_clears(command: Command, models: Registry) -> None:
    """After kill -9 of all its processes in the middle of a blob, the same pod's next run publishes."""
    spec = command.spec(**{"from": models.name()})
    models.hang_on = "GET /v2/library/tiny/blobs"
    process = command.start(spec)
    assert models.hanging.wait(60)
    os.killpg(process.pid, signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert not Path(spec.directory).exists()
    assert {path.suffix for path in command.staged()} == {"", ".lock"}
    assert any("partial" in name for name in tree(command.store))

    models.hang_on = None
    assert command.run(spec)[0] == 0
    assert command.staged() == set()


def test_sigterm_ends_the_server_too_and_leaves_nothing(command: Command, models: Registry) -> None:
    """A deleted Job's pod ends at once, with an exit code that is no success."""
    models.hang_on = "GET /v2/library/tiny/blobs"
    process = command.start(command.spec(**{"from": models.name()}))
    assert models.hanging.wait(60)
    process.terminate()
    assert finish(process)[0] == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(command.server(), 0)
    assert tree(command.store) == {}
    assert command.staged() == set()


def test_a_server_that_dies_takes_the_run_with_it(command: Command, models: Registry) -> None:
    """Exit code 69, and the sentence ends with the server's last words."""
    models.hang_on = "HEAD /v2/library/tiny/blobs"
    process = command.start(command.spec(**{"from": models.name()}))
    assert models.hanging.wait(60)
    os.kill(command.server(), signal.SIGKILL)
    code, sentence = refused(finish(process))
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith("the model server ended while the model was being made; its log ends: ")
    assert command.staged() == set()


def test_a_server_does_not_outlive_its_parent(command: Command, models: Registry) -> None:
    """Killed alone, as no container does it, the parent takes its server along: port and staging are free."""
    spec = command.spec(**{"from": models.name()})
    models.hang_on = "GET /v2/library/tiny/blobs"
    process = command.start(spec)
    assert models.hanging.wait(60)
    server = command.server()
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    models.hang_on = None
    assert command.run(spec)[0] == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert command.staged() == set()
