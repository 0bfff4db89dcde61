"""The whole way of a document with the real pinned server, by moto's queue and the worker's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.worker import ollama_server, rig
from tests.worker.rig import eventually

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.worker.rig import Rig

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["letter", "invoice"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}
OPTIONS = {"num_ctx": 512, "num_predict": 64, "num_thread": 1, "temperature": 0}


@pytest.fixture(scope="module")
def server(ollama_binary: Path, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A real server that knows the tiny model."""
    models = tmp_path_factory.mktemp("real") / "models"
    with ollama_server.running(
        ollama_binary, models, OLLAMA_MAX_LOADED_MODELS="1", OLLAMA_NUM_PARALLEL="2"
    ) as url:
        ollama_server.create(url, "tiny", tiny_gguf, template="{{ .System }}{{ .Prompt }}")
        yield url.removeprefix("http://")


@pytest.fixture
def real(moto: str, server: str, tmp_path: Path) -> Generator[Rig]:
    """Buckets, queues and rules of one model, asked of the real server."""
    made = rig.make(moto, tmp_path, server)
    made.task = made.task.model_copy(
        update={"options": made.task.options.model_copy(update=OPTIONS), "visibility_seconds": 60}
    )
    yield made
    made.close()


def test_documents_of_each_kind_are_answered_or_refused(real: Rig) -> None:
    """Text of any encoding and markup reach the model; what it cannot see or hold is refused, never cut."""
    documents = {
        "plain.txt": (b"A short letter.", "text/plain"),
        "wide.txt": ("Größe: 3 µm".encode("utf-16"), "text/plain"),
        "page.html": (
            b"<html><body><h1>Title</h1><script>x()</script><p>Body.</p></body></html>",
            "text/html",
        ),
        "rows.csv": (b"a;b\r\n1;2\r\n", "text/csv"),
        "picture.png": (Path(__file__).parent.joinpath("pixel.png").read_bytes(), "image/png"),
        "long.txt": (b"word " * 200, "text/plain"),
    }
    real.worker(parallel=2)
    keys = {real.upload(name, content, kind): name for name, (content, kind) in documents.items()}
    eventually(real.is_empty)
    ends = {keys[key]: real.records(key)[-1] for key in keys}
    assert {name: record["outcome"] for name, record in ends.items()} == {
        "plain.txt": "answered",
        "wide.txt": "answered",
        "page.html": "answered",
        "rows.csv": "answered",
        "picture.png": "failed",
        "long.txt": "failed",
    }
    assert ends["picture.png"]["failure"]["reason"] == "no_vision"
    assert ends["long.txt"]["failure"]["reason"] == "too_long"
    # One token for each byte, one for the beginning: nothing was cut, and nothing but the text was added.
    prompt = len(real.task.prompt)
    assert ends["wide.txt"]["tokens"]["prompt"] == 1 + prompt + len("Größe: 3 µm".encode())
    assert ends["rows.csv"]["tokens"]["prompt"] == 1 + prompt + len(b"a;b\r\n1;2\r\n")


def test_a_long_document_is_split_and_merged(real: Rig) -> None:
    """Every character of it is in a part that was asked about, and there is one answer."""
    text = " ".join(f"word{number}" for number in range(300))
    real.worker(long_documents="split")
    key = real.upload("long.txt", text.encode())
    eventually(real.is_empty)
    (record,) = real.records(key)
    chunks = record["chunks"]
    assert len(real.results(key)) == 1
    assert (chunks[0]["start"], chunks[-1]["end"]) == (0, len(text))
    assert all(after["start"] <= before["end"] for before, after in pairwise(chunks))
    assert record["requests"] > len(chunks)


def test_an_answer_meets_its_schema(real: Rig) -> None:
    """The result is JSON that validates, stored as such."""
    real.worker(output_schema=SCHEMA)
    key = real.upload("letter.txt", b"A letter.")
    eventually(real.is_empty)
    (record,) = real.records(key)
    (result,) = real.results(key)
    jsonschema.validate(json.loads(result), SCHEMA)
    assert record["result"]["key"].endswith(".json")


def test_a_text_is_embedded(real: Rig) -> None:
    """The result holds one vector for the whole of a short text."""
    real.worker(task="embed")
    key = real.upload("letter.txt", b"A letter.")
    eventually(real.is_empty)
    (result,) = real.results(key)
    (embedding,) = json.loads(result)["embeddings"]
    assert (embedding["start"], embedding["end"], len(embedding["vector"])) == (0, 9, 32)


def test_a_runner_that_is_killed_costs_no_document(real: Rig, server: str) -> None:
    """SIGKILL of the model's own process in the middle of an answer loses nothing."""
    real.worker(options=real.task.options.model_copy(update={"num_predict": 400, "num_ctx": 2048}))
    keys = [real.upload(f"{number}.txt", b"text " * 100) for number in range(8)]
    eventually(lambda: any(real.results(key) for key in keys))
    (runner,) = _runners(server)
    os.kill(runner, signal.SIGKILL)
    eventually(real.is_empty)
    assert [len(real.results(key)) for key in keys] == [1] * 8


def _runners(server: str) -> list[int]:
    """The processes that compute, children of the one that listens."""
    port = server.rpartition(":")[2]
    listed: Any = subprocess.run(["ps", "-eo", "pid,ppid,args"], check=True, capture_output=True, text=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
    parents = {int(pid) for pid, _, args in rows if args.endswith("serve") and _listens(int(pid), port)}
    return [int(pid) for pid, parent, args in rows if int(parent) in parents and "runner" in args]


def _listens(pid: int, port: str) -> bool:
    return f"127.0.0.1:{port}" in Path(f"/proc/{pid}/environ").read_text(errors="replace")
