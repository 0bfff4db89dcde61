"""Which model takes the results of which other, and whether that leads anywhere. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.problems import did_you_mean
from components.suitability import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from components.model_section import Model


def problems(model: Model, models: Sequence[Model]) -> Iterator[Problem]:
    """What is wrong with a model's `after`, given all models of the stack.

    A circle is told once, at the first of its models.
    """
    if model.after is None:
        return
    by_name = {each.name: each for each in models}
    before = by_name.get(model.after)
    if before is None:
        near = did_you_mean(model.after, [name for name in by_name if name != model.name])
        reason = f"names no model of this stack{near}"
    elif circle := _circle(model, by_name):
        if model.name != min(circle, key=list(by_name).index):
            return
        reason = f"leads back to itself: {' after '.join([*circle, model.name])}; one has to take documents"
    else:
        reason = _unreadable(model, before)
    if reason:
        yield Problem(("after",), model.after, reason)


def _circle(model: Model, by_name: Mapping[str, Model]) -> list[str]:
    """The names from the model back to itself, each after the next; none where it does not come back."""
    chain = [model.name]
    while (after := by_name[chain[-1]].after) in by_name and after not in chain:
        chain.append(str(after))
    return chain if by_name[chain[-1]].after == model.name else []


def _unreadable(model: Model, before: Model) -> str:
    """Why the results of the model before are no documents for this one, empty where they are."""
    if before.task == "embed":
        return f"{before.name} gives vectors, and no model reads those as a document"
    kind = "text/plain" if before.output.schema_ is None else "application/json"
    if kind not in model.accepts:
        return f"{before.name} gives {kind}, which is not in `accepts`"
    return ""
