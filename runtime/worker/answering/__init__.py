"""From a document that is ready to its answer: what is asked is prepared first, then put to the model."""

from runtime.worker.answering.answers import Answer, Chunk, answer
from runtime.worker.answering.question import Question, prepare

__all__ = ["Answer", "Chunk", "Question", "answer", "prepare"]
