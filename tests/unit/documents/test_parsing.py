"""Parsers as child processes that die, hang, lie or grow: the worker is none the worse for it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from runtime.worker.documents import parsing
from runtime.worker.documents.parser import MEMORY_BYTES
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

SILENT = "the document's parser did not say what it found"
HEAD = "import os, pathlib, resource, signal, sys\nfolder = pathlib.Path(sys.argv[2])\n"


@pytest.fixture
def document(temporary: Path) -> Iterator[BinaryIO]:
    """An open document; when it is closed no file is left."""
    with tempfile.TemporaryFile(buffering=0) as file:
        yield file
    assert list(temporary.iterdir()) == []


def _program(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    program = folder / "program.py"
    program.write_text(HEAD + code)
    monkeypatch.setattr(parsing, "PROGRAM", program)


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("sys.exit(3)", "the document's parser died of it (exit code 3)"),
        ("os.abort()", "the document's parser died of it (signal 6)"),
        ("print('{}')", SILENT),
        ("(folder / 'result.json').write_text('{')", SILENT),
        ("(folder / 'result.json').write_text('{\"text\": 1}')", SILENT),
        ("(folder / 'result.json').write_text('{\"images\": 1}')", SILENT),
        ("(folder / 'result.json').write_bytes(b'{\"text\": \"\\xff\"}')", SILENT),
        ("signal.pause()", "reading the document took more than 1 seconds"),
    ],
)  # fmt: skip
async def test_a_parser_that_fails_condemns_the_document(
    document: BinaryIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, detail: str
) -> None:
    """Its death, its silence, nonsense and too long a time are the document's failure, in a sentence."""
    _program(monkeypatch, tmp_path, code)
    monkeypatch.setattr(parsing, "PARSE_SECONDS", 1 if "pause" in code else 60)
    with pytest.raises(DocumentFailure) as caught:
        await parsing.parse("html", document)
    assert (caught.value.reason, caught.value.detail) == ("damaged", detail)


async def test_a_parser_ends_with_its_caller(
    document: BinaryIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the task that waits is cancelled, the child is killed and reaped, and its files go."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    _program(monkeypatch, tmp_path, "pathlib.Path(sys.argv[3]).write_text(str(os.getpid()))\nsignal.pause()")
    task = asyncio.create_task(parsing.parse("html", document, str(pipe)))
    child = int(await asyncio.to_thread(pipe.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


async def test_a_parser_has_limits(
    document: BinaryIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever parses can take no more memory than is said, and a document that needs it is too large."""
    monkeypatch.setattr(parsing, "PROGRAM", tmp_path / "program.py")
    (tmp_path / "program.py").write_text(
        f"import runpy, sys\nparser = runpy.run_path({str(PARSER)!r})\n"
        f"def greedy(page): return bytearray({MEMORY_BYTES})\n"
        "parser['main'].__globals__['readable'] = greedy\nparser['main'](*sys.argv[1:])\n"
    )
    with pytest.raises(DocumentFailure) as caught:
        await parsing.parse("html", document)
    assert (caught.value.reason, caught.value.detail) == (
        "too_large",
        "reading the document takes more than 1024 MiB of memory",
    )


PARSER = parsing.PROGRAM
