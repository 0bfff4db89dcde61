"""How the pool shares blobs, and what becomes of damaged ones and of file systems with few links or none."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from runtime.command import CommandError
from runtime.ollama import blobs, free_space
from runtime.ollama.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"weights"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
REAL_LINK = os.link


def _model(store: Path, name: str, content: bytes | None = CONTENT) -> Path:
    models = store / name
    (models / "blobs").mkdir(parents=True)
    if content is not None:
        blobs.path_of(DIGEST, models).write_bytes(content)
    return models


def _in_pool(store: Path) -> Path:
    return store / ".blobs" / blobs.name_of(DIGEST)


def _limit_links(monkeypatch: pytest.MonkeyPatch, links: int, number: int = errno.EMLINK) -> None:
    """Makes the file system refuse a further link to a file that has so many."""

    def link(source: Path, target: Path) -> None:
        if source.stat().st_nlink >= links:
            raise OSError(number, os.strerror(number))
        REAL_LINK(source, target)

    monkeypatch.setattr(os, "link", link)


def test_what_one_model_shares_another_takes(tmp_path: Path) -> None:
    """It is the same file, not another with the same bytes."""
    one, other = _model(tmp_path, "a"), _model(tmp_path, "b", None)
    Pool(tmp_path).share(DIGEST, one)
    assert Pool(tmp_path).take(DIGEST, other)
    assert blobs.path_of(DIGEST, other).samefile(blobs.path_of(DIGEST, one))
    assert not Pool(tmp_path).take(f"sha256:{'0' * 64}", other)


def test_a_damaged_blob_is_not_taken_and_leaves_the_pool(tmp_path: Path) -> None:
    """The next download takes its place; the model that shares its bytes is named in the log, not changed."""
    one, other = _model(tmp_path, "a"), _model(tmp_path, "b", None)
    Pool(tmp_path).share(DIGEST, one)
    _in_pool(tmp_path).write_bytes(b"weighty")
    assert not Pool(tmp_path).take(DIGEST, other)
    assert not _in_pool(tmp_path).exists()
    assert not blobs.path_of(DIGEST, other).exists()
    assert blobs.path_of(DIGEST, one).exists()


@pytest.mark.parametrize("rival", [CONTENT, b"weighty"])
def test_a_rival_s_blob_is_shared_if_it_is_sound(tmp_path: Path, rival: bytes) -> None:
    """Two that came at once become one; a damaged one gives way. Either way pool and model are one file."""
    one, other = _model(tmp_path, "a", rival), _model(tmp_path, "b")
    Pool(tmp_path).share(DIGEST, one)
    Pool(tmp_path).share(DIGEST, other)
    assert blobs.path_of(DIGEST, other).samefile(_in_pool(tmp_path))
    assert blobs.path_of(DIGEST, other).read_bytes() == CONTENT
    assert blobs.path_of(DIGEST, one).samefile(_in_pool(tmp_path)) == (rival == CONTENT)
    assert [*other.iterdir()] == [other / "blobs"]


def test_a_file_with_all_its_links_is_copied_once_for_as_many_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 5 links to a file, 12 models make 3 files of 4 models each, the last of them the pool's."""
    _limit_links(monkeypatch, 5)
    pool = Pool(tmp_path)
    models = [_model(tmp_path, f"{number:02}", None if number else CONTENT) for number in range(12)]
    for number, model in enumerate(models):
        assert number == 0 or pool.take(DIGEST, model)
        pool.share(DIGEST, model)
    inodes = [blobs.path_of(DIGEST, model).stat().st_ino for model in models]
    assert {inode: inodes.count(inode) for inode in inodes} == dict.fromkeys(inodes, 4)
    assert len({*inodes}) == 3
    assert _in_pool(tmp_path).stat().st_ino == inodes[-1]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_every_model_has_its_own_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The pool stays empty: a copy in it would double every model; what is in it already is copied."""
    model = _model(tmp_path, "a")
    with monkeypatch.context() as patch:
        _limit_links(patch, 1, number)
        Pool(tmp_path).share(DIGEST, model)
        assert not _in_pool(tmp_path).exists()
    Pool(tmp_path).share(DIGEST, model)
    _limit_links(monkeypatch, 1, number)
    other = _model(tmp_path, "b", None)
    assert Pool(tmp_path).take(DIGEST, other)
    assert not blobs.path_of(DIGEST, other).samefile(_in_pool(tmp_path))


def test_what_does_not_fit_is_said_in_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 69: room can be made. What needs nothing fits even on a full disk."""
    state = os.statvfs(tmp_path)
    free = state.f_bavail * state.f_frsize
    with pytest.raises(CommandError, match=r"^model x needs .* GB \(\d+ bytes\) more") as caught:
        free_space.require(tmp_path, free, "model x")
    assert caught.value.exit_code == os.EX_UNAVAILABLE
    free_space.require(tmp_path, 1, "model x")
    monkeypatch.setattr(free_space, "RESERVE_BYTES", free)
    free_space.require(tmp_path, 0, "model x")
