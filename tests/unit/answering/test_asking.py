"""One document put to a server that answers by a script: what is sent, and what each reply counts as."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runtime.ollama.images import PIECE_BYTES
from runtime.spec import Options, TaskSpec
from runtime.worker.answering.errors import DoesNotFitError
from runtime.worker.failures import DocumentFailure, Failure, ServerFailure, TransientFailure
from tests.unit.answering.server import GOOD, TOO_LONG, Image, Server, says, task

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"pages": {"type": "integer", "minimum": 1}},
    "required": ["pages"],
}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, {"system": "Summarize.", "prompt": "The document."}),
        ({"prompt": ""}, {"prompt": "The document."}),
        ({"system": "Be."}, {"system": "Be.", "prompt": "Summarize.\n\nThe document."}),
        ({"think": False}, {"system": "Summarize.", "prompt": "The document.", "think": False}),
        ({"think": "low"}, {"system": "Summarize.", "prompt": "The document.", "think": "low"}),
        (
            {"prompt": "", "output_schema": SCHEMA},
            {"prompt": "The document.", "format": SCHEMA, "think": False},
        ),
        (
            {"prompt": "", "output_schema": SCHEMA, "think": True},
            {"prompt": "The document.", "format": SCHEMA, "think": True},
        ),
    ],
    ids=["prompt", "nothing", "system", "no thinking", "little", "schema", "schema and thinking"],
)
async def test_the_request_is_exactly_this(changes: dict[str, object], fields: dict[str, object]) -> None:
    """Nothing is cut or forgotten by the server, nothing is unloaded, and a task's options are all sent."""
    server = Server(lambda _body: says(response='{"pages": 1}'))
    await server.answer(task(**changes))
    (request,) = server.asked
    assert (request.method, str(request.url)) == ("POST", "http://server/api/generate")
    assert json.loads(request.content) == {
        "model": "tiny:1b",
        "options": {
            "num_ctx": 1024,
            "num_predict": 64,
            "use_mmap": False,
            "temperature": 0.0,
            "stop": ["END"],
        },
        "keep_alive": -1,
        "stream": False,
        "truncate": False,
        "shift": False,
        **fields,
    }


async def test_images_go_in_pieces_and_arrive_whole() -> None:
    """Each is read from its start, at any size, into a request whose length was said before."""
    contents = [b"", b"a", b"abc", bytes(range(256)) * 4096, b"x" * PIECE_BYTES * 2, b"y" * (PIECE_BYTES + 1)]
    server = Server()
    await server.answer(task(), "", images=[Image.of(content) for content in contents])
    (request,), (body,) = server.asked, server.bodies
    sent = [hashlib.sha256(base64.b64decode(image, validate=True)).digest() for image in body["images"]]
    assert sent == [hashlib.sha256(content).digest() for content in contents]
    assert body["prompt"] == "Summarize."
    assert "system" not in body
    assert int(request.headers["Content-Length"]) == len(request.content)
    assert "Transfer-Encoding" not in request.headers
    assert request.headers["Content-Type"] == "application/json"


async def test_an_image_that_changed_is_not_sent_short() -> None:
    """A file that ends before its size is an error of ours, not one of the server's."""
    image = dataclasses.replace(Image.of(b"abc"), size=4)
    with pytest.raises(ValueError, match="an image of 4 bytes ended 1 bytes early"):
        await Server().answer(task(), "", images=[image])


async def test_an_answer_is_the_servers_own_words_and_numbers() -> None:
    """The text is not trimmed, thoughts are no part of it; counts are as given, and times are in seconds."""
    answer = await Server(lambda _body: says(thinking="Well...")).answer(task())
    assert dataclasses.asdict(answer) == {
        "body": b" An answer.\n",
        "chunks": (),
        "requests": 1,
        "prompt_tokens": 12,
        "answer_tokens": 7,
        "load_seconds": 1.5,
        "prompt_seconds": 0.25,
        "answer_seconds": 2.0,
    }


async def test_counts_that_the_server_leaves_out_are_zero() -> None:
    """What has no count is no error."""
    reply = httpx.Response(200, json={"response": "x", "done": True, "done_reason": "stop"})
    answer = await Server(lambda _body: reply).answer(task())
    assert (answer.prompt_tokens, answer.answer_tokens, answer.load_seconds) == (0, 0, 0.0)


async def test_an_answer_under_a_schema_is_stored_as_it_was_given() -> None:
    """It is held against the schema, not written anew: numbers keep their digits."""
    given = '{"pages": 1, "price": 1.10000000000000000001}'
    answer = await Server(lambda _body: says(response=given)).answer(task(output_schema=SCHEMA))
    assert answer.body == given.encode()


async def test_an_answer_that_violates_its_schema_is_asked_for_again() -> None:
    """The model hears what was wrong, after the text that it has read; what was wrong costs as well."""
    answers = iter(['{"pages": 0}', "no JSON", '{"pages": 1}'])
    server = Server(lambda _body: says(response=next(answers)))
    of = task(output_schema=SCHEMA, options=Options(num_ctx=1024, num_predict=64, seed=7))
    answer = await server.answer(of)
    note = (
        "\n\nAn earlier answer was not accepted, as it does not meet the schema: {}\n"
        "Answer again, so that it does."
    )
    assert [(body["prompt"], body["options"]["seed"]) for body in server.bodies] == [
        ("The document.", 7),
        ("The document." + note.format("0 is less than the minimum of 1"), 8),
        ("The document." + note.format("Expecting value: line 1 column 1 (char 0)"), 9),
    ]
    same = [{**body, "prompt": "", "options": {**body["options"], "seed": 7}} for body in server.bodies]
    assert same == [same[0]] * 3
    assert answer.body == b'{"pages": 1}'
    assert (answer.requests, answer.prompt_tokens, answer.answer_tokens) == (3, 36, 21)


@pytest.mark.parametrize(
    ("response", "rule"),
    [('{"pages": 0}', "#/properties/pages/minimum"), ("secret", "not JSON"), ('{"secret": 1}', "#/required")],
)
async def test_a_schema_that_is_never_met(response: str, rule: str) -> None:
    """Asked twice more in vain, it is the document's failure, which names the rule and not the answer."""
    server = Server(lambda _body: says(response=response))
    with pytest.raises(DocumentFailure) as caught:
        await server.answer(task(output_schema=SCHEMA))
    assert len(server.asked) == 3
    assert (caught.value.reason, caught.value.detail) == (
        "schema_not_met",
        f"the answer violates {rule} of `output.schema`",
    )


@pytest.mark.parametrize(
    "reply", [TOO_LONG, says(done_reason="length", eval_count=3)], ids=["asked", "answered"]
)
async def test_a_note_that_does_not_fit_is_not_the_documents_length(reply: httpx.Response) -> None:
    """The document did fit, so what it failed by is the schema."""
    server = Server(lambda body: reply if "not accepted" in body["prompt"] else says(response="{}"))
    with pytest.raises(DocumentFailure) as caught:
        await server.answer(task(output_schema=SCHEMA))
    assert (len(server.asked), caught.value.reason) == (2, "schema_not_met")


def _gives(status: int, body: object) -> Callable[[object], httpx.Response]:
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda _body: httpx.Response(status, text=text)


def _breaks(error: type[httpx.RequestError]) -> Callable[[object], httpx.Response]:
    def broken(_body: object) -> httpx.Response:
        raise error("broken")

    return broken


CUT = "beside 12 of the prompt it did not end within num_predict 64 and num_ctx 1024"
GAVE_UP = "the model server gave up on the answer (done: {}), as it does when a model repeats itself"
LONG = (
    "prompt and text, roughly 5 tokens (an estimate), do not fit into num_ctx 1024; raise it, shorten the "
    "document or split it"
)
NOT_JSON = "the model server's answer is not JSON of its API"

REPLIES: dict[str, tuple[Callable[[object], httpx.Response], type[Failure], str, str]] = {
    "done false": (
        _gives(200, {**GOOD, "done": False, "done_reason": ""}),
        TransientFailure,
        "not_done",
        GAVE_UP.format("false"),
    ),
    "loaded": (
        _gives(200, {**GOOD, "done_reason": "load"}),
        TransientFailure,
        "not_done",
        GAVE_UP.format("true"),
    ),
    "out of num_predict": (
        _gives(200, {**GOOD, "done_reason": "length", "eval_count": 64}),
        DocumentFailure,
        "answer_cut",
        f"the answer was cut after 64 tokens: {CUT}",
    ),
    "out of num_ctx": (
        _gives(200, {**GOOD, "done_reason": "length", "eval_count": 63}),
        DoesNotFitError,
        "answer_cut",
        f"the answer was cut after 63 tokens: {CUT}",
    ),
    "empty": (
        _gives(200, {**GOOD, "response": " \n"}),
        DocumentFailure,
        "empty_answer",
        "the model answered with nothing but white space",
    ),
    "too long": (lambda _body: TOO_LONG, DoesNotFitError, "too_long", LONG),
    "an error after HTTP 200": (
        _gives(200, {"error": "an error was encountered while running the model: unexpected EOF"}),
        ServerFailure,
        "runner_crashed",
        "the model server's runner died: an error was encountered while running the model: unexpected EOF",
    ),
    "an unknown error after HTTP 200": (
        _gives(200, {"error": "odd"}),
        TransientFailure,
        "server_error",
        "the model server answered 200: odd",
    ),
    "not JSON": (_gives(200, "<html>"), TransientFailure, "server_error", NOT_JSON),
    "500 and not JSON": (_gives(500, "Internal Server Error"), TransientFailure, "server_error", NOT_JSON),
    "an array": (_gives(200, "[]"), TransientFailure, "server_error", NOT_JSON),
    "no text": (_gives(200, {**GOOD, "response": None}), TransientFailure, "server_error", NOT_JSON),
    "nobody there": (
        _breaks(httpx.ConnectError),
        ServerFailure,
        "server_unreachable",
        "no model server there (ConnectError)",
    ),
    "nobody says hello": (
        _breaks(httpx.ConnectTimeout),
        ServerFailure,
        "server_unreachable",
        "no model server there (ConnectTimeout)",
    ),
    "dropped": (
        _breaks(httpx.RemoteProtocolError),
        ServerFailure,
        "server_gone",
        "the model server broke off (RemoteProtocolError)",
    ),
    "reset": (
        _breaks(httpx.ReadError),
        ServerFailure,
        "server_gone",
        "the model server broke off (ReadError)",
    ),
}


@pytest.mark.parametrize(("script", "kind", "reason", "detail"), REPLIES.values(), ids=REPLIES)
async def test_each_reply_has_its_class(
    script: Callable[[object], httpx.Response], kind: type[Failure], reason: str, detail: str
) -> None:
    """Whose fault it is decides what becomes of the message, so every reply falls into exactly one class."""
    with pytest.raises(Failure) as caught:
        await Server(script).answer(task())
    failure = caught.value
    assert (type(failure), failure.reason, failure.detail) == (kind, reason, detail)


async def test_a_reply_that_is_not_understood_is_nowhere_quoted() -> None:
    """Not even in the exception's cause, which a log might show."""
    with pytest.raises(Failure) as caught:
        await Server(_gives(200, {**GOOD, "response": ["secret"]})).answer(task())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("of", [task(), task(long_documents="split")], ids=["refuse", "split"])
async def test_images_that_do_not_fit_are_refused(of: TaskSpec) -> None:
    """They cannot be split, so their number is named beside the estimate."""
    server = Server(lambda _body: TOO_LONG)
    with pytest.raises(DocumentFailure, match=r"prompt and text and 1 images, roughly 2 tokens"):
        await server.answer(of, "", images=[Image.of(b"x")])
    assert len(server.asked) == 1
