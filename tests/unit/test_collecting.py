"""What the collector removes from a store: never what is named, never all of it by accident."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from runtime.command import CommandError
from runtime.ollama import blobs, collecting, staging
from runtime.ollama.pool import Pool

WEEK = 7 * 24 * 3600
if TYPE_CHECKING:
    from pathlib import Path

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
SHARED = "sha256:" + "1" * 64


def _publish(store: Path, name: str, *digests: str, age: float = 2 * WEEK) -> Path:
    models = store / name
    (models / "blobs").mkdir(parents=True)
    for digest in digests:
        path = blobs.path_of(digest, models)
        pooled = store / ".blobs" / blobs.name_of(digest)
        if pooled.exists():
            os.link(pooled, path)
        else:
            path.write_bytes(b"x" * 1000)
            Pool(store).share(digest, models)
    marker = models / "model.json"
    marker.write_text("{}")
    _age(marker, age)
    return models


def _age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def _left(store: Path) -> set[str]:
    """The models and the blobs that are there, by the first digit of their hashes."""
    pool = {path.name[7] for path in (store / ".blobs").iterdir()}
    return pool | {path.name[0] for path in store.iterdir() if not path.name.startswith(".")}


def _digest(digit: str) -> str:
    return f"sha256:{digit * 64}"


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Runs the command here: its exit code and its sentence."""
    monkeypatch.setattr(sys, "argv", ["ollama-eks-provision", *arguments])
    monkeypatch.setattr(collecting.logs, "configure", lambda: None)
    try:
        collecting.main()
    except CommandError as error:
        return error.exit_code, str(error)
    return 0, ""


@pytest.mark.parametrize("dry_run", [True, False])
def test_models_that_nothing_names_go_with_the_blobs_of_their_own(tmp_path: Path, *, dry_run: bool) -> None:
    """A's blob and the shared one stay with A. A dry run says the same and changes nothing, not one time."""
    _publish(tmp_path, A, SHARED, _digest("2"))
    _publish(tmp_path, B, SHARED, _digest("3"))
    (tmp_path / "lost+found").mkdir()
    (tmp_path / C).mkdir()  # no marker: whatever it is, it is no published model
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    tally = collecting.collect(tmp_path, {A}, kept_seconds=WEEK, dry_run=dry_run)
    assert tally == collecting.Tally(models=1, blobs=1, stagings=0, bytes=1000 + len("{}"))
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    if dry_run:
        assert after == before
    else:
        assert _left(tmp_path) == {"1", "2", "a", "c", "l"}
        assert [*(tmp_path / ".staging").iterdir()] == []


def test_a_model_stays_for_a_week_after_it_was_last_named(tmp_path: Path) -> None:
    """Whenever it was published: so a roll-back to what was deployed until yesterday is instant."""
    _publish(tmp_path, A, SHARED)
    assert collecting.collect(tmp_path, {A}, kept_seconds=WEEK).models == 0
    assert collecting.collect(tmp_path, {B}, kept_seconds=WEEK).models == 0
    _age(tmp_path / ".named" / A, WEEK)
    assert collecting.collect(tmp_path, {B}, kept_seconds=WEEK).models == 1
    assert {path.name for path in tmp_path.iterdir()} == {".blobs", ".named", ".staging"}
    assert [*(tmp_path / ".named").iterdir()] == [*(tmp_path / ".blobs").iterdir()] == []


def test_the_living_keep_what_they_work_on(tmp_path: Path) -> None:
    """Their staging directory, and the pool's blobs that they have taken."""
    model = _publish(tmp_path, A, SHARED)
    assert model.exists()
    with staging.claim(tmp_path, pod="pod", owner=B) as place:
        blobs.path_of(SHARED, place.models).parent.mkdir()
        os.link(tmp_path / ".blobs" / blobs.name_of(SHARED), blobs.path_of(SHARED, place.models))
        assert collecting.collect(tmp_path, {C}, kept_seconds=WEEK)[:3] == (1, 0, 0)
        assert blobs.path_of(SHARED, place.models).exists()
    assert _left(tmp_path) == {"1"}


def test_without_roots_nothing_goes_unless_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed query for roots looks like no roots; an unreadable root is no root either."""
    _publish(tmp_path, A, SHARED)
    empty = tmp_path / "roots"
    empty.write_text("# none\n\n")
    store = str(tmp_path)
    wrong = [
        (("--collect", store), os.EX_DATAERR),
        (("--collect", store, "--roots", str(empty)), os.EX_DATAERR),
        (("--collect", store, "a model"), os.EX_DATAERR),
        (("--collect", store, "--no-roots", A), os.EX_DATAERR),
        (("--collect", store, "--roots", "/no/such"), os.EX_NOINPUT),
        (("--collect", "/no/such", A), os.EX_NOINPUT),
    ]
    ends = [_run(monkeypatch, *arguments) for arguments, _ in wrong]
    assert [code for code, _ in ends] == [code for _, code in wrong]
    assert ends[0][1] == (
        "there are no roots, so every model of the store would go: if that is meant, say --no-roots"
    )
    assert _left(tmp_path) == {"1", "a", "r"}
    empty.write_text(f"/models/{A}/\n")
    assert _run(monkeypatch, "--collect", store, "--roots", str(empty)) == (0, "")
    assert _left(tmp_path) == {"1", "a", "r"}
    assert _run(monkeypatch, "--collect", store, "--no-roots", "--days", "-1") == (0, "")
    assert _left(tmp_path) == {"r"}
