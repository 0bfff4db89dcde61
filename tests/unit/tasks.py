"""A task for whatever needs one."""

from __future__ import annotations

from typing import get_args

from runtime.spec import DocumentType, ModelSource, ModelSpec, TaskSpec


def task(**changes: object) -> TaskSpec:
    """A task that takes documents of every type, but for these fields."""
    return TaskSpec(
        name="task",
        model=ModelSpec(source=ModelSource.model_validate({"from": "tiny"})),
        accepts=get_args(DocumentType),
        queue_url="q",
        dead_letter_url="d",
        documents_bucket="in",
        results_bucket="out",
    ).model_copy(update=changes)
