"""The answer to a document: whole or in pieces, as text, JSON or vectors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from runtime.worker.answering.asking import Asking, Said, empty_answer
from runtime.worker.answering.merging import merge
from runtime.worker.answering.pieces import ask_in_pieces

if TYPE_CHECKING:
    from runtime.ollama.client import Ollama
    from runtime.spec import TaskSpec
    from runtime.worker.answering.question import Question


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document that was too long.

    Attributes:
        start: its first character.
        end: the one after its last; the next chunk begins a little before.
        prompt_tokens: as the server counts them.
        answer_tokens: likewise.
    """

    start: int
    end: int
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is stored for a document, and what it took.

    Attributes:
        body: UTF-8 text; JSON where the task has a schema or embeds.
        chunks: the pieces that the document was put in, none if it was put whole.
        requests: made for it; what follows is over all of them.
        prompt_tokens: as the server counts them.
        answer_tokens: likewise.
        load_seconds: how long the server took to have the model ready.
        prompt_seconds: how long it read.
        answer_seconds: how long it wrote.
    """

    body: bytes
    chunks: tuple[Chunk, ...]
    requests: int
    prompt_tokens: int
    answer_tokens: int
    load_seconds: float
    prompt_seconds: float
    answer_seconds: float


async def answer(ollama: Ollama, task: TaskSpec, question: Question) -> Answer:
    """Puts a question to the model until it is answered.

    Raises:
        DocumentFailure: `too_long`, `answer_cut`, `empty_answer`, `schema_not_met` or `refused`.
        TransientFailure: `server_error`, `not_done` or `busy`.
        ServerFailure: `server_unreachable`, `server_gone`, `runner_down`, `runner_crashed` or `model_gone`.
    """
    asking = Asking(ollama, task, question)
    said = _embedded if task.task == "embed" else _generated
    body, chunks = await said(asking)
    return Answer(body=body, chunks=chunks if len(chunks) > 1 else (), **asdict(asking.spent))


async def _generated(asking: Asking) -> tuple[bytes, tuple[Chunk, ...]]:
    question = asking.question
    if question.images or asking.task.long_documents == "refuse":
        return (await asking.answer(question.text)).text.encode(), ()

    async def ask(text: str) -> tuple[Said, int]:
        # A part may have nothing that matters; the chunks still tell that it was read.
        said = await asking.answer(text, may_be_empty=text != question.text)
        return said, said.prompt_tokens

    pieces = await ask_in_pieces(asking.room, question.text, ask)
    chunks = tuple(Chunk(start, end, said.prompt_tokens, said.answer_tokens) for start, end, said in pieces)
    answers = [said.text for _, _, said in pieces if said.text.strip()]
    if not answers:
        raise empty_answer()
    return (await merge(asking, answers)).encode(), chunks


async def _embedded(asking: Asking) -> tuple[bytes, tuple[Chunk, ...]]:
    question = asking.question

    async def ask(text: str) -> tuple[tuple[list[float], int], int]:
        vector, tokens = await asking.vector(text)
        return (vector, tokens), tokens

    if asking.task.long_documents == "refuse":
        pieces = [(0, len(question.text), await asking.vector(question.text))]
    else:
        pieces = await ask_in_pieces(asking.room, question.text, ask)
    embeddings = [{"start": start, "end": end, "vector": vector} for start, end, (vector, _) in pieces]
    body = json.dumps({"model": asking.task.model.reference, "embeddings": embeddings}, separators=(",", ":"))
    return body.encode(), tuple(Chunk(start, end, tokens, 0) for start, end, (_, tokens) in pieces)
