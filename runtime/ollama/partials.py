"""What an earlier attempt has downloaded: found whole enough to go on from, or left behind.

The server keeps a download as `<blob>-partial`, of the full length from the start, and one JSON object of
`Offset`, `Size` and `Completed` for each part (`server/download.go` of the pinned server). It trusts what
it finds: a part that is missing or cut off, as a kill can leave it, would end every later pull of that blob.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from runtime.ollama import blobs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX = "-partial"


class Part(BaseModel):
    """A stretch of a blob, downloaded by itself."""

    number: int = Field(alias="N", ge=0)
    offset: int = Field(alias="Offset", ge=0)
    size: int = Field(alias="Size", gt=0)
    completed: int = Field(alias="Completed", ge=0)


def adopt(digest: str, source: Path, target: Path) -> bool:
    """Moves the blob, whole or in parts, from one model directory to another that has nothing of it.

    A whole one is hashed first: it lies under its name before the server has checked it.

    Returns:
        Whether it is whole, and is what its name says.
    """
    theirs, ours = blobs.path_of(digest, source), blobs.path_of(digest, target)
    ours.parent.mkdir(parents=True, exist_ok=True)
    if theirs.exists():
        if ours.exists() or blobs.digest_of(theirs) != digest:
            return False
        theirs.rename(ours)
        return True
    if completed(theirs) and not ours.exists() and not _files(ours):
        for path in _files(theirs):
            path.rename(ours.with_name(path.name))
    return False


def completed(blob: Path) -> int:
    """Bytes of a blob in parts that the server need not ask for again; 0 if the parts are unsound."""
    whole = blob.with_name(blob.name + SUFFIX)
    files = [path for path in _files(blob) if path != whole]
    try:
        parts = sorted(
            (Part.model_validate_json(path.read_bytes()) for path in files), key=lambda part: part.offset
        )
        length = whole.stat().st_size
    except (FileNotFoundError, ValidationError):
        return 0
    names = {f"{whole.name}-{part.number}" for part in parts}
    end = 0
    for part in parts:
        if part.offset != end or part.completed > part.size:
            return 0
        end += part.size
    return sum(part.completed for part in parts) if (end, names) == (length, {*_names(files)}) else 0


def missing(sizes: Mapping[str, int], models: Path) -> int:
    """Bytes that are still to be written of the blobs, given their sizes by digest."""
    paths = {digest: blobs.path_of(digest, models) for digest in sizes}
    return sum(
        max(size - completed(paths[digest]), 0)
        for digest, size in sizes.items()
        if not paths[digest].exists()
    )


def found(models: Path) -> set[str]:
    """The digests of which the model directory has bytes worth going on from."""
    names = {path.name.partition(SUFFIX)[0] for path in (models / "blobs").glob("sha256-*")}
    return {
        name.replace("-", ":", 1)
        for name in names
        if (models / "blobs" / name).exists() or completed(models / "blobs" / name)
    }


def _files(blob: Path) -> list[Path]:
    return sorted(blob.parent.glob(f"{blob.name}{SUFFIX}*"))


def _names(files: list[Path]) -> list[str]:
    return [path.name for path in files]
