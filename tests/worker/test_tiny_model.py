"""The tiny models on the real pinned server: what each kind answers and how tokens count.

CPU only, one architecture: elsewhere sums round in another order, and single words of an answer may differ.
"""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import httpx
import pytest

from cli import tiny_model
from tests.worker import ollama_server

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_PROMPT_BYTES = 1900
ANSWER_TOKENS = 9
# How often the server sends the same word before it gives up.
REPEAT_LIMIT = 31
ALPHABETS = ("ab ", "etaoin shrdlu,.\n", "".join(map(chr, range(32, 127))), "äéßñø жя 漢字 🙂\t")


@pytest.fixture(scope="module")
def base_url(ollama_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a model of each kind."""
    folder = tmp_path_factory.mktemp("tiny")
    with ollama_server.running(ollama_binary, folder / "models", OLLAMA_NUM_PARALLEL="2") as url:
        for kind in get_args(tiny_model.Kind):
            tiny_model.write(folder / f"{kind}.gguf", kind)
            ollama_server.create(url, kind, folder / f"{kind}.gguf", parameters={"num_ctx": 2048})
        yield url


@pytest.fixture(scope="module")
def http(base_url: str) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=base_url, timeout=60) as client:
        yield client


def generate(http: httpx.Client, model: str, prompt: str, **options: object) -> dict[str, Any]:
    """Return the server's whole answer, without the tokens it lists."""
    body = {
        "model": model,
        "prompt": prompt,
        "stream": False,
        "truncate": False,
        "shift": False,
        "options": options,
    }
    answered = http.post("/api/generate", json=body)
    assert answered.status_code == httpx.codes.OK, answered.text
    return {key: value for key, value in answered.json().items() if key != "context"}


def prompts() -> list[str]:
    """Return 200 texts of 1 to 1,900 bytes in several scripts, the same in every run."""
    source = random.Random(24)  # noqa: S311 (a seed, not a secret)
    sizes = [1, 2, 3, LONGEST_PROMPT_BYTES] + [
        round(LONGEST_PROMPT_BYTES ** source.random()) for _ in range(196)
    ]
    texts = ["".join(source.choices(ALPHABETS[turn % 4], k=size)) for turn, size in enumerate(sizes)]
    cut = [text.encode()[:size].decode(errors="ignore") for text, size in zip(texts, sizes, strict=True)]
    return [text or "x" for text in cut]


def is_an_answer(text: str) -> bool:
    """Say whether the text is one word of each level, in order."""
    words = text.split(" ")
    return [word[0] for word in words] == list(tiny_model.ONSETS) and {w[1:] for w in words} <= set(
        tiny_model.RIMES
    )


def test_every_prompt_gets_a_whole_answer_of_its_own(http: httpx.Client) -> None:
    """Prompts of any length and script end with stop after 8 words, cost n + 1 tokens, and are told apart.

    A second pass in the opposite order, over a cache that holds other prompts, gives the same answers.
    """
    asked = prompts()
    answers: dict[str, str] = {}
    for prompt in asked:
        answer = generate(http, "answers", prompt, temperature=0)
        answers[prompt] = answer["response"]
        assert (answer["done"], answer["done_reason"]) == (True, "stop")
        assert is_an_answer(answer["response"])
        assert answer["prompt_eval_count"] == len(prompt.encode()) + 1
        assert answer["eval_count"] == ANSWER_TOKENS
    # Measured: all differ. A second architecture may round two of them together.
    assert len(set(answers.values())) >= len(answers) - 2
    again = {
        prompt: generate(http, "answers", prompt, temperature=0)["response"] for prompt in reversed(answers)
    }
    assert again == answers


def test_numbered_documents_have_answers_of_their_own(http: httpx.Client) -> None:
    """Texts that differ in a short number, anagrams among them, cannot be mixed up."""
    answers = {generate(http, "answers", f"document {n}", temperature=0)["response"] for n in range(100)}
    assert len(answers) == 100


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 2, "top_k": 0, "top_p": 1}, {"repeat_penalty": 5, "presence_penalty": 2}],
    ids=["default", "wild", "penalties"],
)
def test_no_sampling_leaves_the_structure(http: httpx.Client, options: dict[str, object]) -> None:
    """Sampling may choose other words, and never more, fewer or others than one of each level."""
    for prompt in prompts()[:40]:
        answer = generate(http, "answers", prompt, **options)
        assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", ANSWER_TOKENS)
        assert is_an_answer(answer["response"])


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("a b", 4), (" a", 3), ("ä", 3), ("\N{LOWER ONE EIGHTH BLOCK}", 2), ("<s></s>", 3), ("<unk>", 2)],
    ids=["space", "leading space", "umlaut", "the tokenizer's space", "begin and end", "unknown"],
)
def test_what_a_text_counts(http: httpx.Client, prompt: str, tokens: int) -> None:
    """Bytes and the begin token count, but U+2581 and the text of a special token count as one each."""
    answer = generate(http, "answers", prompt, temperature=0)
    assert (answer["prompt_eval_count"], answer["done_reason"]) == (tokens, "stop")


@pytest.mark.parametrize(
    ("size", "reason", "evaluated"),
    [(2039, "stop", ANSWER_TOKENS), (2040, "length", ANSWER_TOKENS - 1), (2047, "length", 1)],
)
def test_where_the_context_ends(http: httpx.Client, size: int, reason: str, evaluated: int) -> None:
    """The answer is whole while prompt, begin token and answer fit num_ctx, and cut with `length` beyond."""
    answer = generate(http, "answers", "x" * size, temperature=0)
    assert (answer["done"], answer["done_reason"]) == (True, reason)
    assert (answer["prompt_eval_count"], answer["eval_count"]) == (size + 1, evaluated)


def test_a_prompt_over_the_context_is_refused(http: httpx.Client) -> None:
    """With `truncate: false`, n + 1 over num_ctx is HTTP 400 with this sentence."""
    answered = http.post(
        "/api/generate", json={"model": "answers", "prompt": "x" * 2048, "stream": False, "truncate": False}
    )
    assert answered.status_code == httpx.codes.BAD_REQUEST
    assert answered.json() == {"error": "the input length exceeds the context length"}


def test_an_answer_under_a_schema_ends_and_fits_it(http: httpx.Client) -> None:
    """A grammar that forbids words and end leaves what closes the document, so `format` gives whole JSON."""
    types = {"title": {"type": "string"}, "pages": {"type": "integer"}, "paid": {"type": "boolean"}}
    schema = {
        "type": "object",
        "properties": types | {"tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["title", "pages", "paid", "tags"],
    }
    for number in range(10):
        body = {"model": "answers", "prompt": f"document {number}", "stream": False, "format": schema}
        answer = http.post("/api/generate", json=body).json()
        assert (answer["done"], answer["done_reason"]) == (True, "stop")
        parsed = json.loads(answer["response"])
        assert {key: type(value) for key, value in parsed.items()} == {
            "title": str,
            "pages": int,
            "paid": bool,
            "tags": list,
        }
        assert is_an_answer(parsed["title"])


@pytest.mark.parametrize("words", [1, 40, 200])
def test_length_ends_at_num_predict(http: httpx.Client, words: int) -> None:
    """The model that never ends is cut where the request says, and never by the server's repeat limit."""
    answer = generate(http, "length", "some document", num_predict=words)
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "length", words)


def test_length_ends_with_the_context(http: httpx.Client) -> None:
    """Without num_predict it fills num_ctx: the prompt's tokens, then words."""
    answer = generate(http, "length", "x" * 1900, num_ctx=2048)
    assert (answer["done"], answer["done_reason"]) == (True, "length")
    assert answer["prompt_eval_count"] + answer["eval_count"] == 2048 + 1


def test_a_runaway_is_given_up_without_a_word(http: httpx.Client) -> None:
    """The server stops at its repeat limit with HTTP 200, `done: false`, no reason and no counts."""
    answer = generate(http, "runaway", "some document")
    assert answer.pop("created_at")
    assert answer == {"model": "runaway", "response": tiny_model.words()[0] * REPEAT_LIMIT, "done": False}


def test_a_streamed_runaway_just_ends(http: httpx.Client) -> None:
    """Streamed, it is HTTP 200 and one line for each word, none of which says done."""
    answered = http.post("/api/generate", json={"model": "runaway", "prompt": "some document"})
    assert answered.status_code == httpx.codes.OK
    lines = [json.loads(line) for line in answered.text.splitlines()]
    assert [(line["response"], line["done"]) for line in lines] == [
        (tiny_model.words()[0], False)
    ] * REPEAT_LIMIT
    assert all(line.keys() == {"model", "created_at", "response", "done"} for line in lines)


@pytest.mark.parametrize(("num_predict", "done"), [(REPEAT_LIMIT, True), (REPEAT_LIMIT + 1, False)])
def test_a_runaway_needs_room(http: httpx.Client, num_predict: int, done: bool) -> None:  # noqa: FBT001
    """A num_predict up to the repeat limit is reached first."""
    answer = generate(http, "runaway", "some document", num_predict=num_predict)
    assert (answer["done"], answer.get("done_reason")) == (done, "length" if done else None)


def test_the_pinned_server_says_its_version(http: httpx.Client) -> None:
    """The build stamps the version that the fleet's image has."""
    assert http.get("/api/version").json() == {"version": "0.24.0"}


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "server killed"])
def test_no_process_is_left(ollama_binary: Path, tmp_path: Path, killed: bool) -> None:  # noqa: FBT001
    """A server that a test has used is gone with its runner, even if only the server was killed."""
    models = tmp_path / "models"
    tiny_model.write(tmp_path / "tiny.gguf")
    with ollama_server.running(ollama_binary, models) as url:
        ollama_server.create(url, "tiny", tmp_path / "tiny.gguf")
        with httpx.Client(base_url=url, timeout=60) as client:
            generate(client, "tiny", "load")
        processes = processes_with(models)
        assert len(processes) == 2
        if killed:
            os.kill(min(processes), signal.SIGKILL)
    assert processes_with(models) == []


def test_a_server_that_does_not_start_shows_its_log(ollama_binary: Path, tmp_path: Path) -> None:
    """The exception carries what the server said last."""
    (tmp_path / "models").write_text("a file where the store should be")
    with (
        pytest.raises(
            ollama_server.ServerDidNotStartError, match=r"(?s)ended with status 1; .*not a directory"
        ),
        ollama_server.running(ollama_binary, tmp_path / "models"),
    ):
        pytest.fail("it started")


def processes_with(models: Path) -> list[int]:
    """Return the living processes that were started with this store, oldest first."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end between two looks, and a dead one that nobody has waited for has no environment.
        with suppress(OSError):
            if f"OLLAMA_MODELS={models}\0".encode() in (folder / "environ").read_bytes() + b"\0":
                found.append(int(folder.name))
    return sorted(found)
