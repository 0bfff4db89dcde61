"""Who may touch a staging directory: the living keep theirs, the dead leave rubbish or a download."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runtime.ollama import staging

if TYPE_CHECKING:
    from pathlib import Path

DAY = 24 * 3600


def _names(store: Path) -> set[str]:
    return {path.name for path in (store / ".staging").iterdir()}


def _die(store: Path, *, download: bool) -> Path:
    """A staging directory whose maker is gone."""
    with staging.claim(store, pod="dead", owner="f" * 64) as place:
        (place.models / "blobs").mkdir()
        if download:
            (place.models / "blobs" / f"sha256-{'0' * 64}").touch()
    return place.path


def test_the_living_are_left_alone(tmp_path: Path) -> None:
    """Neither its own process nor another one finds a directory dead whose maker lives."""
    with staging.claim(tmp_path, pod="pod", owner="f" * 64) as place:
        staging.sweep(tmp_path)
        script = "import sys; from pathlib import Path; from runtime.ollama import staging\n"
        script += "staging.sweep(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
        assert place.models.is_dir()
        assert (place.owner, place.path.name[:4]) == ("f" * 64, "pod-")
    staging.sweep(tmp_path)
    assert _names(tmp_path) == set()


def test_the_lock_lives_as_long_as_a_child_that_holds_it(tmp_path: Path) -> None:
    """A server that outlives its parent keeps its directory from being taken."""
    with staging.claim(tmp_path, pod="pod", owner="") as place:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(place.lock,))
    with child:
        assert [*staging.dead(tmp_path)] == []
        child.communicate()
    assert [dead.path for dead in staging.dead(tmp_path)] == [place.path]


@pytest.mark.parametrize(
    ("download", "age", "stays"), [(False, 0, False), (True, 0, True), (True, DAY + 1, False)]
)
def test_a_download_of_the_dead_is_kept_for_a_day(
    tmp_path: Path, *, download: bool, age: int, stays: bool
) -> None:
    """The next Job of its model goes on from it; without one, or later, it is rubbish."""
    path = _die(tmp_path, download=download)
    then = path.stat().st_mtime - age
    os.utime(path / "model" / "blobs", (then, then))
    staging.sweep(tmp_path)
    assert path.exists() == stays
    assert _names(tmp_path) == ({path.name, f"{path.name}.lock"} if stays else set())


def test_a_download_for_a_model_that_is_there_is_rubbish(tmp_path: Path) -> None:
    """Another run of it has finished."""
    path = _die(tmp_path, download=True)
    (tmp_path / ("f" * 64)).mkdir()
    (tmp_path / ("f" * 64) / "model.json").touch()
    staging.sweep(tmp_path)
    assert not path.exists()


def test_rubbish_of_other_kinds_goes_too(tmp_path: Path) -> None:
    """A lock whose directory was never made, a directory without a lock, a model that was being removed."""
    folder = tmp_path / ".staging"
    (folder / "old" / "blobs").mkdir(parents=True)
    (folder / "removed-x" / "blobs").mkdir(parents=True)
    (folder / "died.lock").touch()
    staging.sweep(tmp_path)
    assert _names(tmp_path) == set()
