"""What is asked about a document, before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.spec import Options, Sampling, TaskSpec
from runtime.worker.answering import Question, prepare
from runtime.worker.failures import DocumentFailure
from tests.unit.answering.server import Image, task

if TYPE_CHECKING:
    from pydantic import JsonValue

IMAGE = Image.of(b"pixels")


def question(
    of: TaskSpec, text: str = "Text.", *images: Image, inputs: dict[str, JsonValue] | None = None
) -> Question:
    """The question that the code makes."""
    return prepare(of, text=text, images=images, inputs=inputs or {}, sampling=Sampling())


@pytest.mark.parametrize(
    ("prompt", "system", "text", "images", "asked"),
    [
        ("Ask.", "", "Text.", (), ("Ask.", "Text.")),
        ("Ask.", "You are.", "Text.", (), ("You are.", "Ask.\n\nText.")),
        ("", "You are.", "Text.", (), ("You are.", "Text.")),
        ("", "", "Text.", (), ("", "Text.")),
        ("Ask.", "", "", (IMAGE,), ("", "Ask.")),
        ("Ask.", "", "Text.", (IMAGE,), ("", "Ask.\n\nText.")),
        ("Ask.", "You are.", "Text.", (IMAGE,), ("You are.", "Ask.\n\nText.")),
    ],
    ids=["prompt", "both", "system", "neither", "image", "image and text", "image, text and system"],
)
def test_where_the_prompts_go(
    prompt: str, system: str, text: str, images: tuple[Image, ...], asked: tuple[str, str]
) -> None:
    """The prompt is the system message of a text, unless there is one of its own, and precedes images."""
    made = question(task(prompt=prompt, system=system), text, *images)
    assert (made.system, made.before + made.text) == asked
    assert (made.text, made.images) == (text, images)


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("", "Text."),
        ("query:", "query: Text."),
        ("query: ", "query: Text."),
        ("Ask.\nQuery:\n", "Ask.\nQuery:\nText."),
    ],
)
def test_what_precedes_a_text_to_embed(prompt: str, asked: str) -> None:
    """A space stands between the prompt and the text, unless the prompt ends with one of its own."""
    made = question(task(task="embed", prompt=prompt, system="You are."))
    assert (made.system, made.before + made.text) == ("", asked)


def test_inputs_fill_both_prompts() -> None:
    """An input may be used in either, and its value is not looked at again."""
    of = task(prompt="Ask {{ inputs.who }}.", system="Be {{ inputs.how }}.")
    made = question(of, inputs={"who": "{{ inputs.how }}", "how": "brief"})
    assert (made.system, made.before) == ("Be brief.", "Ask {{ inputs.how }}.\n\n")


@pytest.mark.parametrize("text", ["{{ inputs.who }}", "a }} b"])
def test_the_document_is_no_template(text: str) -> None:
    """What stands in a document is asked about, never filled."""
    assert question(task(), text).text == text


@pytest.mark.parametrize(
    ("of", "inputs", "names"),
    [
        (task(prompt="{{ inputs.who }}"), {}, ["who"]),
        (task(), {"who": "x"}, ["who"]),
        (task(prompt="{{ inputs.a }}{{ inputs.b }}"), {"c": "x"}, ["a", "b", "c"]),
    ],
    ids=["missing", "unused", "all at once"],
)
def test_inputs_that_do_not_fit(of: TaskSpec, inputs: dict[str, JsonValue], names: list[str]) -> None:
    """A missing or an unused input is the document's failure, and all are named."""
    with pytest.raises(DocumentFailure) as caught:
        question(of, inputs=inputs)
    assert caught.value.reason == "inputs"
    assert all(name in caught.value.detail for name in names)


def test_half_a_character_is_no_input() -> None:
    """What UTF-8 cannot say is refused here, and not by the request that would send it."""
    with pytest.raises(DocumentFailure, match="inputs: an input holds half of a surrogate pair"):
        question(task(prompt="{{ inputs.who }}"), inputs={"who": "\ud800"})


@pytest.mark.parametrize(
    ("of", "detail"),
    [
        (task(task="embed"), "only text can be embedded, and the document has images"),
        (task(prompt=" "), "the document has images, and without a `prompt` nothing is asked"),
    ],
    ids=["to embed", "without a prompt"],
)
def test_images_that_cannot_be_asked_about(of: TaskSpec, detail: str) -> None:
    """The server would drop them without a word."""
    with pytest.raises(DocumentFailure) as caught:
        question(of, "", IMAGE)
    assert (caught.value.reason, caught.value.detail) == ("unsupported", detail)


def test_a_document_varies_its_sampling_and_nothing_else() -> None:
    """A runner option of its own would load the model again, so that even one in disguise is left out."""
    sampling = Options(num_ctx=4096, num_predict=1, temperature=0.5, seed=3)
    made = prepare(task(), text="Text.", images=(), inputs={}, sampling=sampling)
    assert made.options == {
        "num_ctx": 1024,
        "num_predict": 64,
        "use_mmap": False,
        "temperature": 0.5,
        "seed": 3,
        "stop": ["END"],
    }
