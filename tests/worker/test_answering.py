"""Documents put to the real pinned server with the tiny model, whose token count per byte is known.

What this cannot show: images that are seen, thoughts, and any model whose tokens are longer than a byte.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from cli import tiny_model
from runtime.ollama.client import Ollama
from runtime.spec import ModelSource, ModelSpec, Options, Sampling, TaskSpec
from runtime.worker import answering
from runtime.worker.answering.errors import DoesNotFitError
from runtime.worker.failures import DocumentFailure, Failure, ServerFailure, TransientFailure
from tests.worker import ollama_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.worker.answering import Answer

NUM_CTX = 512
PROMPT = "Summarize in one sentence."
# The prompt and the token that begins every text.
OVERHEAD = len(PROMPT) + 1
ANSWER_TOKENS = 9
ALPHABETS = ("ab ", "etaoin shrdlu,.\n\n", "äéßñø жя 漢字。 🙂\t\r\n")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the servers of this module."""
    return tmp_path_factory.mktemp("answering") / "models"


@pytest.fixture(scope="module")
def host(ollama_binary: Path, models: Path) -> Iterator[str]:
    """A server with a model of each kind, whose template is the two messages and nothing else."""
    with ollama_server.running(ollama_binary, models, OLLAMA_MAX_LOADED_MODELS="1") as url:
        kinds: tuple[tiny_model.Kind, ...] = ("answers", "length", "runaway")
        for kind in kinds:
            path = models.parent / f"{kind}.gguf"
            tiny_model.write(path, kind)
            ollama_server.create(url, kind, path, template="{{ .System }}{{ .Prompt }}")
        yield url.removeprefix("http://")


def task(model: tiny_model.Kind = "answers", **changes: object) -> TaskSpec:
    """A task of a small context: the smaller, the faster."""
    return TaskSpec(
        name="a",
        model=ModelSpec(source=ModelSource.model_validate({"from": model})),
        prompt=PROMPT,
        options=Options(num_ctx=NUM_CTX, num_predict=32, num_thread=1, temperature=0),
        accepts=("text/plain",),
        queue_url="https://queue",
        dead_letter_url="https://dead",
        documents_bucket="documents",
        results_bucket="results",
    ).model_copy(update=changes)


async def ask(host: str, of: TaskSpec, text: str, *images: Image) -> Answer:
    """What the code under test makes of a document."""
    ollama = Ollama(host)
    try:
        question = answering.prepare(of, text=text, images=images, inputs={}, sampling=Sampling())
        return await answering.answer(ollama, of, question)
    finally:
        await ollama.close()


def document(size: int, alphabet: str) -> str:
    """A text of exactly so many bytes of UTF-8, the same in every run."""
    source = random.Random(f"{size} {alphabet}")  # noqa: S311 (a seed, not a secret)
    cut = "".join(source.choices(alphabet, k=size)).encode()[:size].decode(errors="ignore")
    return cut + "." * (size - len(cut.encode()))


# Where the prompt just leaves room for a whole answer, and where it just fits.
WHOLE, FITS = NUM_CTX + 1 - ANSWER_TOKENS - OVERHEAD, NUM_CTX - OVERHEAD


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["words", "text", "scripts"])
async def test_nothing_is_cut_silently(host: str, alphabet: str) -> None:
    """Around the bound of the context, a document is read to its last byte, or fails and says why."""
    for size in [1, 2, WHOLE // 2, *range(WHOLE - 10, FITS + 10), 2 * FITS, 20_000]:
        text = document(size, alphabet)
        if size <= WHOLE:
            answer = await ask(host, task(), text)
            assert (answer.prompt_tokens, answer.answer_tokens) == (OVERHEAD + size, ANSWER_TOKENS)
            continue
        with pytest.raises(DoesNotFitError) as caught:
            await ask(host, task(), text)
        if size <= FITS:
            assert caught.value.reason == "answer_cut"
            assert f"beside {OVERHEAD + size} of the prompt" in caught.value.detail
        else:
            assert caught.value.reason == "too_long"
            assert f"roughly {(len(PROMPT) + size) // 4} tokens (an estimate)" in caught.value.detail


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["words", "text", "scripts"])
@pytest.mark.parametrize("size", [WHOLE - 1, WHOLE, WHOLE + 1, FITS, FITS + 1, 1500, 6000, 20_000])
async def test_a_long_document_is_read_whole_in_pieces(host: str, size: int, alphabet: str) -> None:
    """Every character is in a chunk, and the server's count of each is that of its bytes."""
    text = document(size, alphabet)
    answer = await ask(host, task(long_documents="split"), text)
    assert len(answer.body.split()) == 8
    if size <= WHOLE:
        assert (answer.chunks, answer.prompt_tokens) == ((), OVERHEAD + size)
        return
    assert len(answer.chunks) > 1
    seen = 0
    for chunk in answer.chunks:
        assert chunk.start <= seen < chunk.end
        assert chunk.prompt_tokens == OVERHEAD + len(text[chunk.start : chunk.end].encode())
        assert chunk.answer_tokens == ANSWER_TOKENS
        seen = chunk.end
    assert seen == len(text)
    assert sum(chunk.prompt_tokens for chunk in answer.chunks) < answer.prompt_tokens


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["words", "text", "scripts"])
async def test_vectors_are_of_the_whole_text(host: str, alphabet: str) -> None:
    """A text to embed is counted to its last byte, refused, or split into pieces that are."""
    of = task(task="embed", prompt="text: ")
    overhead = len("text: ") + 1
    for size in (1, 200, NUM_CTX - overhead):
        answer = await ask(host, of, document(size, alphabet))
        (found,) = json.loads(answer.body)["embeddings"]
        assert (answer.prompt_tokens, len(found["vector"])) == (overhead + size, tiny_model.WIDTH)
    for size in (NUM_CTX - overhead + 1, 5000):
        text = document(size, alphabet)
        with pytest.raises(DoesNotFitError, match="too_long"):
            await ask(host, of, text)
        answer = await ask(host, of.model_copy(update={"long_documents": "split"}), text)
        found = json.loads(answer.body)["embeddings"]
        assert [(each["start"], each["end"]) for each in found] == [(c.start, c.end) for c in answer.chunks]
        assert (found[0]["start"], found[-1]["end"]) == (0, len(text))
        assert [chunk.prompt_tokens for chunk in answer.chunks] == [
            overhead + len(text[chunk.start : chunk.end].encode()) for chunk in answer.chunks
        ]


async def test_a_vector_is_the_texts_own(host: str) -> None:
    """Equal texts have equal vectors of length 1, and others have others."""
    of = task(task="embed", prompt="")
    bodies = [(await ask(host, of, text)).body for text in ("one", "two", "one")]
    vectors: list[list[float]] = [json.loads(body)["embeddings"][0]["vector"] for body in bodies]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(number**2 for number in vectors[0]) == pytest.approx(1)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "pages": {"type": "integer"}},
    "required": ["title", "pages"],
}


async def test_an_answer_meets_its_schema(host: str) -> None:
    """The server holds the model to it, and what it cannot hold it to is found here."""
    answer = await ask(host, task(output_schema=SCHEMA), "A document.")
    assert {key: type(value) for key, value in json.loads(answer.body).items()} == {
        "title": str,
        "pages": int,
    }
    assert answer.requests == 1
    # `not` is no part of the server's grammars.
    never = {**SCHEMA, "properties": {**SCHEMA["properties"], "pages": {"type": "integer", "not": {}}}}
    with pytest.raises(
        DocumentFailure, match=r"schema_not_met: the answer violates #/properties/pages/not of"
    ):
        await ask(host, task(output_schema=never), "A document.")


@dataclass(frozen=True)
class Image:
    """An image in memory."""

    file: BinaryIO
    size: int


async def test_a_request_with_images_is_whole(host: str) -> None:
    """A model that cannot see gets a mark for each instead: the server has read all of the request."""
    images = [Image(io.BytesIO(bytes(size)), size) for size in (1, 3_000_000, 2)]
    answer = await ask(host, task(), "And a text.", *images)
    marks = len("[img-0][img-1][img-2]")
    assert answer.prompt_tokens == OVERHEAD + marks + len("\n\nAnd a text.")


@pytest.mark.parametrize(
    ("of", "kind", "reason"),
    [
        (task("length"), DocumentFailure, "answer_cut"),
        (task("length", long_documents="split"), DocumentFailure, "answer_cut"),
        (task("runaway", options=Options(num_predict=64)), TransientFailure, "not_done"),
        (task(think=True), DocumentFailure, "refused"),
        (task(output_schema={"type": "objekt"}), DocumentFailure, "refused"),
        (
            task().model_copy(
                update={"model": ModelSpec(source=ModelSource.model_validate({"from": "nothing"}))}
            ),
            ServerFailure,
            "model_gone",
        ),
    ],
    ids=["endless", "endless split", "runaway", "thoughts", "no schema", "no model"],
)
async def test_each_failure_has_its_class(host: str, of: TaskSpec, kind: type[Failure], reason: str) -> None:
    """What the real server says is what the classes were made for."""
    with pytest.raises(Failure) as caught:
        await ask(host, of, "A document.")
    assert (type(caught.value), caught.value.reason) == (kind, reason)


async def test_a_model_without_thoughts_can_be_told_not_to_think(host: str) -> None:
    """As every request with a schema does."""
    assert (await ask(host, task(think=False), "A document.")).body


async def test_what_is_loaded(host: str) -> None:
    """The client loads for either task, gets a first word, and sees the model and its server."""
    ollama = Ollama(host)
    for kind in ("generate", "embed"):
        of = task(task=kind)
        await ollama.load(of)
        await ollama.first_word(of)
    loaded = await ollama.loaded()
    assert loaded is not None
    assert (loaded.name, loaded.size_vram, loaded.context_length) == ("answers:latest", 0, NUM_CTX)
    assert (len(loaded.digest), loaded.size > 0) == (64, True)
    assert await ollama.capabilities("answers") == {"completion"}
    assert await ollama.ping() == "0.24.0"
    await ollama.close()


BUSY = Options(num_ctx=2048, num_predict=2000, num_thread=1)


@pytest.mark.parametrize(
    ("of", "text"),
    [(task("length", options=BUSY), "x"), (task(task="embed", options=BUSY), "x" * 2000)],
    ids=["answer", "vector"],
)
async def test_a_runner_that_dies_at_a_document(host: str, models: Path, of: TaskSpec, text: str) -> None:
    """It is the server's failure, whatever status the server gives it, and the next document is answered."""
    ollama = Ollama(host)
    await ollama.load(of)
    await ollama.close()
    (runner,) = processes(models, "runner")
    idle = cpu_ticks(runner)
    asking = asyncio.create_task(ask(host, of, text))
    await at_work(runner, idle, asking)
    os.kill(runner, signal.SIGKILL)
    with pytest.raises(ServerFailure) as caught:
        await asking
    assert caught.value.reason == "runner_crashed"
    assert (await ask(host, task(), "A document.")).body


async def test_a_server_that_dies_at_a_document(ollama_binary: Path, tmp_path: Path) -> None:
    """The document in hand is told apart from those that come when nobody is there any more."""
    of = task("length", options=BUSY)
    tiny_model.write(tmp_path / "length.gguf", "length")
    with ollama_server.running(ollama_binary, tmp_path / "models") as url:
        ollama_server.create(url, "length", tmp_path / "length.gguf")
        host = url.removeprefix("http://")
        ollama = Ollama(host)
        await ollama.load(of)
        await ollama.close()
        (runner,), (server,) = (
            processes(tmp_path / "models", "runner"),
            processes(tmp_path / "models", "serve"),
        )
        idle = cpu_ticks(runner)
        asking = asyncio.create_task(ask(host, of, "x"))
        await at_work(runner, idle, asking)
        os.kill(server, signal.SIGKILL)
        for document_in_hand in (asking, ask(host, of, "x")):
            with pytest.raises(ServerFailure) as caught:
                await document_in_hand
            expected = "server_gone" if document_in_hand is asking else "server_unreachable"
            assert caught.value.reason == expected


def processes(models: Path, word: str) -> list[int]:
    """The living processes of the server with this store that have this word for a command."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
        except OSError:
            # It ended between two looks.
            continue
        if f"OLLAMA_MODELS={models}\0".encode() in environment and word.encode() in command.split(b"\0"):
            found.append(int(folder.name))
    return found


def cpu_ticks(process: int) -> int:
    """How long a process has been at work, in hundredths of a second."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def at_work(process: int, idle: int, asking: asyncio.Task[Answer]) -> None:
    """Return once a process does more than before, or has nothing left to do."""
    # Another process can only be watched.
    while cpu_ticks(process) < idle + 5 and not asking.done():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
