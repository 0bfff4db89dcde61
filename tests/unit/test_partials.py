"""Which downloads of an earlier try are gone on from: what a kill can leave must not reach the server."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from runtime.ollama import blobs, partials

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"0123456789"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def _left(folder: Path, *parts: tuple[int, int, int, int] | str) -> Path:
    """A dead run's model directory, with a download in parts of (number, offset, size, completed)."""
    models = folder / "dead"
    blob = blobs.path_of(DIGEST, models)
    blob.parent.mkdir(parents=True)
    blob.with_name(blob.name + "-partial").write_bytes(CONTENT)
    for index, part in enumerate(parts):
        keys = ("N", "Offset", "Size", "Completed")
        text = part if isinstance(part, str) else json.dumps(dict(zip(keys, part, strict=True)))
        blob.with_name(f"{blob.name}-partial-{index}").write_text(text)
    return models


@pytest.mark.parametrize(
    ("parts", "done"),
    [
        pytest.param(((0, 0, 4, 4), (1, 4, 6, 1)), 5, id="sound"),
        pytest.param(((0, 0, 4, 0), (1, 4, 6, 0)), 0, id="nothing came yet"),
        pytest.param(((0, 0, 4, 4), ""), 0, id="killed while a part was noted"),
        pytest.param(((0, 0, 4, 4), '{"N":1,"Off'), 0, id="killed half way through it"),
        pytest.param(((0, 0, 4, 4),), 0, id="killed before all parts were noted"),
        pytest.param(((0, 0, 4, 4), (1, 5, 5, 1)), 0, id="a gap"),
        pytest.param(((0, 0, 4, 5), (1, 4, 6, 1)), 0, id="more than there is"),
        pytest.param(((0, 0, 4, 4), (2, 4, 6, 1)), 0, id="another number than its name's"),
        pytest.param((), 0, id="killed before the file got its name"),
    ],
)
def test_only_parts_that_the_server_can_read_are_adopted(
    tmp_path: Path, parts: tuple[tuple[int, int, int, int] | str, ...], done: int
) -> None:
    """They must cover the blob, each under its own number; otherwise none moves."""
    dead, models = _left(tmp_path, *parts), tmp_path / "new"
    assert partials.found(dead) == ({DIGEST} if done else set())
    assert not partials.adopt(DIGEST, dead, models)
    assert partials.completed(blobs.path_of(DIGEST, models)) == done
    assert partials.missing({DIGEST: len(CONTENT)}, models) == len(CONTENT) - done
    assert len([*(models / "blobs").iterdir()]) == (len(parts) + 1 if done else 0)


@pytest.mark.parametrize("sound", [True, False])
def test_a_whole_blob_is_hashed_before_it_is_adopted(tmp_path: Path, *, sound: bool) -> None:
    """The server would trust it by its name."""
    dead, models = tmp_path / "dead", tmp_path / "new"
    (dead / "blobs").mkdir(parents=True)
    blobs.path_of(DIGEST, dead).write_bytes(CONTENT if sound else CONTENT[:-1])
    assert partials.adopt(DIGEST, dead, models) == sound
    assert blobs.path_of(DIGEST, models).exists() == sound
