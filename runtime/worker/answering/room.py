"""How much text fits into one request: an estimate, since only the server can count tokens. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.spec import TaskSpec
    from runtime.worker.answering.question import Question

BYTES_PER_TOKEN = 4
"""A rule of thumb for European text; the server gives no count of what it refuses."""

CAUTIOUS_BYTES_PER_TOKEN = 3
"""For the first piece of a document; code and many scripts have less than the rule of thumb says."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a task's context has for a document.

    Attributes:
        tokens: besides an answer, for which half of the context has to do if num_predict is more than that.
        overhead_bytes: what is sent with every piece; the model's own template not counted.
        num_ctx: tokens in all.
    """

    tokens: int
    overhead_bytes: int
    num_ctx: int

    @classmethod
    def of(cls, task: TaskSpec, question: Question) -> Room:
        """The room for a question's document."""
        num_ctx = task.options.num_ctx
        answer = 0 if task.task == "embed" else min(task.options.num_predict, num_ctx // 2)
        overhead = len(question.system.encode()) + len(question.before.encode())
        return cls(tokens=num_ctx - answer, overhead_bytes=overhead, num_ctx=num_ctx)

    def bytes_at(self, bytes_per_token: float) -> int:
        """How much text fits if its tokens are so long; negative if not even the prompt does."""
        return int(self.tokens * bytes_per_token) - self.overhead_bytes

    def estimate_tokens(self, text: str) -> int:
        """Tokens of a request with this text, by the rule of thumb."""
        return (self.overhead_bytes + len(text.encode())) // BYTES_PER_TOKEN
