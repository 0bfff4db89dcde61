"""What is asked about one document: prompts filled and options chosen, before any time on a GPU. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime import template
from runtime.spec import Sampling
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from runtime.ollama.images import Image
    from runtime.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Question:
    """One document and what to ask about it.

    Attributes:
        text: the document's; what may be split.
        images: of the document, in order.
        system: the system message, empty for none.
        before: what precedes the text in the prompt, separator included.
        options: Ollama's, the document's own sampling among them.
    """

    text: str
    images: Sequence[Image]
    system: str
    before: str
    options: Mapping[str, object]


def prepare(
    task: TaskSpec,
    *,
    text: str,
    images: Sequence[Image],
    inputs: Mapping[str, JsonValue],
    sampling: Sampling,
) -> Question:
    """Makes a document's question.

    The task's `prompt` is the system message and the text alone the prompt, unless the task has a `system` of
    its own: then `prompt` precedes the text. It does so as well beside images, which are nothing without a
    prompt, and before texts to embed, for models that want a word such as `search_document:`.

    Args:
        task: what is asked about every document.
        text: the document's text, empty if it is images alone.
        images: the document's images; not read here.
        inputs: values for `{{ inputs.name }}` in the task's prompts.
        sampling: what the document asks for in another way than the task.

    Raises:
        DocumentFailure: `inputs` or `unsupported`.
    """
    try:
        system, prompt = template.fill(task.system, task.prompt, inputs=inputs)
        (system + prompt).encode()
    except template.TemplateError as error:
        raise DocumentFailure("inputs", str(error)) from error
    except UnicodeEncodeError as error:
        raise DocumentFailure(
            "inputs", "an input holds half of a surrogate pair, which is no text"
        ) from error
    if task.task == "embed":
        if images:
            raise DocumentFailure("unsupported", "only text can be embedded, and the document has images")
        # Not a blank line but a space: so the models that want such a word are trained.
        system, before = "", f"{prompt} " if prompt and not prompt[-1].isspace() else prompt
    elif images and not prompt.strip():
        # The server takes an empty prompt for a wish to have the model loaded, and answers nothing.
        raise DocumentFailure(
            "unsupported", "the document has images, and without a `prompt` nothing is asked"
        )
    elif system or images:
        before = f"{prompt}\n\n" if prompt and text else prompt
    else:
        system, before = prompt, ""
    own = sampling.model_dump(mode="json", exclude_none=True, include=set(Sampling.model_fields))
    options = {**task.options.wire(), **own}
    return Question(text=text, images=images, system=system, before=before, options=options)
