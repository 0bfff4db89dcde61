"""Long documents and vectors, before a server that answers by a script."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runtime.spec import Options
from runtime.worker.answering import Chunk
from runtime.worker.answering.merging import layout
from runtime.worker.failures import DocumentFailure, TransientFailure
from tests.unit.answering.server import TOO_LONG, Server, says, task

if TYPE_CHECKING:
    from collections.abc import Callable

SPLIT = task(long_documents="split", options=Options(num_ctx=1024, num_predict=64))
WORD = re.compile(r"word\d+")


def reads(limit: int = 2500, words: int = 1, *, closing: str = "") -> Server:
    """A server that answers with the first words of what it is given, and refuses prompts over a limit."""

    def script(body: dict[str, Any]) -> httpx.Response:
        prompt = body["prompt"]
        if len(prompt) > limit:
            return TOO_LONG
        said = " ".join(WORD.findall(prompt)[:words]) + closing
        return says(response=said, prompt_eval_count=len(prompt) // 2, eval_count=len(said))

    return Server(script)


def splits(said: Callable[[str], str | None]) -> Server:
    """A server that refuses prompts of over 2,000 characters, and those about which nothing is said."""

    def script(body: dict[str, Any]) -> httpx.Response:
        text = None if len(body["prompt"]) > 2000 else said(body["prompt"])
        if text is None:
            return TOO_LONG
        return says(response=text, prompt_eval_count=len(body["prompt"]) // 2)

    return Server(script)


def is_merge(prompt: str) -> bool:
    """Say whether a prompt asks to merge answers."""
    return prompt.startswith(layout([])[:40])


def document(words: int) -> str:
    """A document of numbered words, 9 bytes each."""
    return " ".join(f"word{number:04}" for number in range(words))


async def test_a_document_that_fits_is_asked_whole() -> None:
    """What may be split need not be, and then there are no chunks."""
    server = reads()
    answer = await server.answer(SPLIT, document(10))
    assert (answer.body, answer.chunks, answer.requests) == (b"word0000", (), 1)


async def test_a_long_document_is_answered_in_parts_and_these_are_merged() -> None:
    """The task's prompt goes with each part and with the merge; the chunks and all costs are told."""
    server = reads()
    answer = await server.answer(SPLIT, document(600))
    prompts = server.prompts
    assert {body["system"] for body in server.bodies} == {"Summarize."}
    assert len(answer.chunks) == 4
    assert [document(600)[chunk.start : chunk.end] for chunk in answer.chunks] == [
        prompt for prompt in prompts[:-1] if len(prompt) <= 2500
    ]
    firsts = [WORD.findall(prompt)[0] for prompt in prompts[:-1] if len(prompt) <= 2500]
    assert prompts[-1] == layout(firsts)
    assert answer.body == b"word0000"
    whole = [len(prompt) // 2 for prompt in prompts if len(prompt) <= 2500]
    assert answer.chunks[0] == Chunk(0, answer.chunks[0].end, whole[0], 8)
    assert (answer.requests, answer.prompt_tokens, answer.answer_tokens) == (len(prompts), sum(whole), 40)


def test_what_a_merge_shows_the_model() -> None:
    """Whose answers they are, what to do, and each with its number."""
    assert layout([" One.\n", "Two."]) == (
        "The document is too long to be read at once. These are the answers to its 2 consecutive parts, in "
        "order; the parts overlap a little, so that some things may be said twice. Make of them the one "
        "answer to the whole document, and do not mention the parts.\n\n"
        "[Part 1 of 2]\nOne.\n\n[Part 2 of 2]\nTwo."
    )


@pytest.mark.parametrize(
    ("limit", "chunks", "merges"),
    [(2500, 7, [3, 4, 2]), (2000, 7, [3, 4, 2, 2, 2, 2])],
    ids=["by estimate", "refused"],
)
async def test_answers_that_are_too_long_together_are_merged_in_halves(
    limit: int, chunks: int, merges: list[int]
) -> None:
    """Seven by estimate, and four if they are refused; all come into the last merge, in order."""
    server = reads(limit, words=60)
    answer = await server.answer(SPLIT, document(1200))
    asked = [prompt for prompt in server.prompts if is_merge(prompt)]
    assert len(answer.chunks) == chunks
    assert [prompt.count("[Part ") for prompt in asked] == merges
    firsts = [re.findall(r"\[Part .*\]\n(\S+)", prompt) for prompt in asked]
    assert all(first == sorted(first) for first in firsts)
    assert answer.body.decode().split()[0] == "word0000"


async def test_two_answers_are_merged_whatever_the_estimate() -> None:
    """It may be wrong, and there is no other way."""
    long = "é" * 1600
    server = Server(
        lambda body: (
            TOO_LONG
            if len(body["prompt"]) > 2000 and not is_merge(body["prompt"])
            else says(response="merged" if is_merge(body["prompt"]) else long, prompt_eval_count=500)
        )
    )
    answer = await server.answer(SPLIT, document(250))
    assert (answer.body, server.prompts[-1]) == (b"merged", layout([long, long]))


async def test_two_answers_that_do_not_fit_end_it() -> None:
    """There is nothing left to halve, and the failure names what to change."""
    server = splits(lambda prompt: None if is_merge(prompt) else "said")
    with pytest.raises(DocumentFailure) as caught:
        await server.answer(SPLIT, document(250))
    detail = (
        f"two answers, {len(layout(['said', 'said']))} bytes, do not fit into num_ctx 1024 to be merged; "
        "raise it, or lower num_predict 64"
    )
    assert (caught.value.reason, caught.value.detail) == ("too_long", detail)


async def test_an_answer_cut_by_the_context_is_asked_for_in_smaller_parts() -> None:
    """One that num_predict cuts is not: less text would not make it shorter."""

    def script(body: dict[str, Any]) -> httpx.Response:
        if len(body["prompt"]) > 1000:
            return says(done_reason="length", eval_count=63)
        return says(prompt_eval_count=len(body["prompt"]))

    answer = await Server(script).answer(SPLIT, document(200))
    assert [chunk.end - chunk.start <= 1000 for chunk in answer.chunks] == [True] * 3
    server = Server(lambda _body: says(done_reason="length", eval_count=64))
    with pytest.raises(DocumentFailure, match="answer_cut"):
        await server.answer(SPLIT, document(200))
    assert len(server.asked) == 1


@pytest.mark.parametrize(("speak", "body"), [(["word0000", "word0499"], b"merged"), (["word0499"], b"said")])
async def test_parts_with_nothing_to_say_are_left_out(speak: list[str], body: bytes) -> None:
    """Their chunks are told all the same; if only one part speaks, there is nothing to merge."""

    def said(prompt: str) -> str:
        return "merged" if is_merge(prompt) else "said" if any(word in prompt for word in speak) else " "

    server = splits(said)
    answer = await server.answer(SPLIT, document(500))
    assert (answer.body, len(answer.chunks)) == (body, 3)
    assert [prompt for prompt in server.prompts if is_merge(prompt)] == [layout(["said", "said"])] * (
        len(speak) - 1
    )


async def test_a_document_of_silent_parts_has_no_answer() -> None:
    """It fails as one that is silent whole."""
    server = splits(lambda _prompt: " ")
    with pytest.raises(DocumentFailure, match="empty_answer"):
        await server.answer(SPLIT, document(500))
    assert len(server.asked) > 3


async def test_a_merged_answer_meets_the_schema_too() -> None:
    """It is asked for with the same `format`, held against it, and asked for again."""
    schema = {"type": "object", "required": ["a"]}
    merges = iter(["{}", '{"a": 2}'])
    server = splits(lambda prompt: next(merges) if is_merge(prompt) else '{"a": 1}')
    answer = await server.answer(SPLIT.model_copy(update={"output_schema": schema}), document(250))
    assert answer.body == b'{"a": 2}'
    assert all(body["format"] == schema for body in server.bodies)


EMBED = task(task="embed", prompt="document:", options=Options(num_ctx=256))


def vectors(limit: int = 400) -> Server:
    """A server that gives each text a vector of its length, and refuses texts over a limit."""

    def script(body: dict[str, Any]) -> httpx.Response:
        (text,) = body["input"]
        if len(text) > limit:
            return TOO_LONG
        reply = {
            "embeddings": [[len(text), 0.5]],
            "prompt_eval_count": len(text) // 2,
            "load_duration": 1_000_000_000,
            "total_duration": 1_500_000_000,
        }
        return httpx.Response(200, json=reply)

    return Server(script)


async def test_a_text_is_embedded() -> None:
    """The request is exactly this, and the result is a vector with its place in the document."""
    server = vectors()
    answer = await server.answer(EMBED, "Text.")
    (request,) = server.asked
    assert str(request.url) == "http://server/api/embed"
    assert server.bodies == [
        {
            "model": "tiny:1b",
            "input": ["document: Text."],
            "options": {"num_ctx": 256, "num_predict": 2048, "use_mmap": False},
            "keep_alive": -1,
            "truncate": False,
        }
    ]
    assert json.loads(answer.body) == {
        "model": "tiny:1b",
        "embeddings": [{"start": 0, "end": 5, "vector": [15, 0.5]}],
    }
    assert (answer.prompt_tokens, answer.answer_tokens, answer.requests) == (7, 0, 1)
    assert (answer.load_seconds, answer.prompt_seconds, answer.answer_seconds) == (1.0, 0.5, 0.0)


async def test_a_long_text_is_refused_or_has_many_vectors() -> None:
    """With split there is one for each chunk, with its range of characters."""
    text = document(200)
    with pytest.raises(
        DocumentFailure, match=r"too_long: prompt and text, roughly 452 tokens \(an estimate\)"
    ):
        await vectors().answer(EMBED, text)
    answer = await vectors().answer(EMBED.model_copy(update={"long_documents": "split"}), text)
    found = json.loads(answer.body)["embeddings"]
    assert [(each["start"], each["end"]) for each in found] == [(c.start, c.end) for c in answer.chunks]
    assert [each["vector"][0] - len("document: ") for each in found] == [
        c.end - c.start for c in answer.chunks
    ]
    assert (found[0]["start"], found[-1]["end"]) == (0, len(text))
    assert sum(chunk.prompt_tokens for chunk in answer.chunks) == answer.prompt_tokens


@pytest.mark.parametrize("reply", [{"embeddings": []}, {"embeddings": [[]]}, {"embeddings": [[1.0], [1.0]]}])
async def test_a_reply_without_its_vector(reply: dict[str, object]) -> None:
    """Nothing is stored that is not exactly what was asked for."""
    server = Server(lambda _body: httpx.Response(200, json=reply))
    with pytest.raises(TransientFailure, match="server_error: the model server sent no vector"):
        await server.answer(EMBED)
