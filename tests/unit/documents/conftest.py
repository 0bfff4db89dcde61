"""Documents as S3 would have given them."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, Protocol

import pytest

from runtime.worker.documents import Content, Fetched, read
from tests.unit import tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Reader(Protocol):
    """Reads bytes as a document of a task that is changed as told."""

    async def __call__(
        self, content: bytes, key: str = "a/b.txt", declared: str = "", *, vision: bool = True, **task: object
    ) -> Content:
        """What `read` gives, or raises."""
        ...


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie; every test leaves it empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def reader(temporary: Path) -> Iterator[Reader]:
    """Reads documents; whatever images they have are closed with the test."""
    with contextlib.ExitStack() as open_files:

        async def reading(
            content: bytes, key: str = "a/b.txt", declared: str = "", *, vision: bool = True, **task: object
        ) -> Content:
            with contextlib.closing(
                Fetched(tempfile.TemporaryFile(buffering=0), len(content), declared, "v")
            ) as given:
                given.file.write(content)
                found = await read(given, key, tasks.task(**task), vision=vision)
            open_files.callback(found.close)
            return found

        yield reading
    assert list(temporary.iterdir()) == []
