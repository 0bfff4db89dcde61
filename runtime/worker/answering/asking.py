"""One text, or the images of a document, put to the model until there is an answer that can be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime import schemas
from runtime.worker.answering.errors import DoesNotFitError
from runtime.worker.answering.replies import Reply, Vectors, check, receive
from runtime.worker.answering.room import Room
from runtime.worker.failures import DocumentFailure, TransientFailure

if TYPE_CHECKING:
    from runtime.ollama.client import Ollama
    from runtime.spec import TaskSpec
    from runtime.worker.answering.question import Question

RE_ASKS = 2
"""How often an answer that does not meet its schema is asked for again."""

NOTE_CHARACTERS = 500
"""Of what was wrong, in the words to the model."""


def empty_answer() -> DocumentFailure:
    """The failure of a document about which the model has nothing to say."""
    return DocumentFailure("empty_answer", "the model answered with nothing but white space")


@dataclass(slots=True)
class Spent:
    """What the requests about one document took, those without a usable answer included."""

    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    load_seconds: float = 0.0
    prompt_seconds: float = 0.0
    answer_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said to one text.

    Attributes:
        text: the answer.
        prompt_tokens: of the last request for it.
        answer_tokens: likewise.
    """

    text: str
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Asking:
    """A question in the course of being asked.

    Attributes:
        ollama: the server.
        task: the limits and the form of the answer.
        question: what is asked about each text.
        spent: what it took so far.
    """

    ollama: Ollama
    task: TaskSpec
    question: Question
    spent: Spent = field(default_factory=Spent)

    @property
    def room(self) -> Room:
        """What the context has for the document."""
        return Room.of(self.task, self.question)

    async def answer(self, text: str, *, may_be_empty: bool = False) -> Said:
        """The model's answer to a text, which meets the task's schema if there is one.

        Args:
            text: what is asked about, in the place of the document.
            may_be_empty: whether the model may have nothing to say.

        Raises:
            DocumentFailure: `too_long`, `answer_cut`, `empty_answer`, `schema_not_met` or `refused`.
            TransientFailure: `server_error`, `not_done` or `busy`.
            ServerFailure: as `replies.receive`.
        """
        schema = self.task.output_schema
        said = await self._once(text)
        if schema is None:
            if not (may_be_empty or said.text.strip()):
                raise empty_answer()
            return said
        wrong = schemas.violation(schema, said.text)
        for turn in range(1, RE_ASKS + 1):
            if wrong is None:
                break
            note = (
                f"\n\nAn earlier answer was not accepted, as it does not meet the schema: "
                f"{wrong.message:.{NOTE_CHARACTERS}}\nAnswer again, so that it does."
            )
            try:
                # After the text: what the server has read already, it need not read again.
                said = await self._once(text, note, turn)
            except DoesNotFitError:
                # It did without the note.
                break
            wrong = schemas.violation(schema, said.text)
        if wrong is not None:
            raise DocumentFailure(
                "schema_not_met", f"the answer violates {wrong.rule:.300} of `output.schema`"
            )
        return said

    async def vector(self, text: str) -> tuple[list[float], int]:
        """A text's vector, and its tokens.

        Raises:
            DocumentFailure: `too_long` or `refused`.
            TransientFailure: `server_error` or `busy`.
            ServerFailure: as `replies.receive`.
        """
        question, spent = self.question, self.spent
        body = {
            "model": self.task.model.reference,
            "options": question.options,
            "input": [question.before + text],
        }
        spent.requests += 1
        reply = await receive(self.ollama.embed(body), Vectors, self._too_long(text))
        spent.prompt_tokens += reply.prompt_eval_count
        spent.load_seconds += reply.load_duration / 1e9
        spent.prompt_seconds += (reply.total_duration - reply.load_duration) / 1e9
        if len(reply.embeddings) != 1 or not reply.embeddings[0]:
            raise TransientFailure("server_error", "the model server sent no vector")
        return reply.embeddings[0], reply.prompt_eval_count

    async def _once(self, text: str, note: str = "", turn: int = 0) -> Said:
        spent = self.spent
        spent.requests += 1
        request = self.ollama.generate(self._body(text + note, turn), self.question.images)
        reply = await receive(request, Reply, self._too_long(text))
        spent.prompt_tokens += reply.prompt_eval_count
        spent.answer_tokens += reply.eval_count
        spent.load_seconds += reply.load_duration / 1e9
        spent.prompt_seconds += reply.prompt_eval_duration / 1e9
        spent.answer_seconds += reply.eval_duration / 1e9
        check(reply, self.task)
        return Said(reply.response, reply.prompt_eval_count, reply.eval_count)

    def _body(self, text: str, turn: int) -> dict[str, object]:
        task, question = self.task, self.question
        options = dict(question.options)
        seed = options.get("seed")
        if isinstance(seed, int):
            # The same seed would draw the same words again.
            options["seed"] = seed + turn
        body: dict[str, object] = {
            "model": task.model.reference,
            "prompt": question.before + text,
            "options": options,
        }
        if question.system:
            body["system"] = question.system
        if task.output_schema is not None:
            body["format"] = task.output_schema
        if task.think is not None:
            body["think"] = task.think
        elif task.output_schema is not None:
            # Models that can think do so by default, and the schema would bind their thoughts.
            body["think"] = False
        return body

    def _too_long(self, text: str) -> str:
        room = self.room
        images = f" and {len(self.question.images)} images" if self.question.images else ""
        return (
            f"prompt and text{images}, roughly {room.estimate_tokens(text)} tokens (an estimate), do not fit "
            f"into num_ctx {room.num_ctx}; raise it, shorten the document or split it"
        )
