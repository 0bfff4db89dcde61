"""Which model may follow which."""

from __future__ import annotations

import pytest

from components.problems import SettingsError
from components.settings import parse


def _problems(**models: dict[str, object]) -> tuple[str, ...]:
    """What is wrong with models, each given by its name."""
    listed = [{"name": name, "from": "tiny", **model} for name, model in models.items()]
    try:
        parse({"image": "registry.test/i:1", "models": listed})
    except SettingsError as error:
        return error.problems
    return ()


def test_models_may_follow_each_other_and_several_one() -> None:
    """In whatever order they are listed."""
    assert _problems(c={"after": "b"}, b={"after": "a"}, a={}, d={"after": "a"}) == ()


@pytest.mark.parametrize(("given", "near"), [("tarnscribe", "; did you mean transcribe?"), ("x", "")])
def test_an_unknown_model_is_a_problem(given: str, near: str) -> None:
    """With those that are near it, and never the model itself."""
    assert _problems(transcribe={}, tarnscribes={"after": given}) == (
        f'models[1].after: given "{given}": names no model of this stack{near}',
    )


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (
            {"a": {"after": "a"}},
            'models[0].after: given "a": leads back to itself: a after a',
        ),
        (
            {"x": {}, "b": {"after": "c"}, "a": {"after": "b"}, "c": {"after": "a"}},
            'models[1].after: given "c": leads back to itself: b after c after a after b',
        ),
        (
            {"d": {"after": "a"}, "a": {"after": "b"}, "b": {"after": "a"}},
            'models[1].after: given "b": leads back to itself: a after b after a',
        ),
    ],
)
def test_a_circle_is_told_once(models: dict[str, dict[str, object]], problem: str) -> None:
    """At its first model, with the whole of it; whoever merely follows it is not to blame."""
    assert _problems(**models) == (f"{problem}; one has to take documents",)


def test_two_circles_are_two_problems() -> None:
    """Each has to be cut."""
    circles: dict[str, dict[str, object]] = {
        name: {"after": after} for name, after in ("ab", "ba", "cd", "dc")
    }
    assert [each.partition(":")[0] for each in _problems(**circles)] == ["models[0].after", "models[2].after"]


@pytest.mark.parametrize(
    ("before", "model", "problem"),
    [
        ({}, {"accepts": ["application/pdf"]}, "a gives text/plain, which is not in `accepts`"),
        (
            {"output": {"schema": {}}},
            {"accepts": ["text/plain"]},
            "a gives application/json, which is not in `accepts`",
        ),
        ({"task": "embed"}, {}, "a gives vectors, and no model reads those as a document"),
        ({}, {"accepts": ["text/plain"]}, None),
        ({"output": {"schema": {}}}, {"accepts": ["application/json"]}, None),
    ],
)
def test_results_have_to_be_documents_for_the_next(
    before: dict[str, object], model: dict[str, object], problem: str | None
) -> None:
    """A model that could answer none of them is a slip."""
    expected = () if problem is None else (f'models[1].after: given "a": {problem}',)
    assert _problems(a=before, b={**model, "after": "a"}) == expected


def test_a_stack_has_room_for_fifty_models() -> None:
    """A policy that names something of each has no more, and AWS would say so in the middle of `up`."""
    models: dict[str, dict[str, object]] = {f"model-{number}": {} for number in range(51)}
    (problem,) = _problems(**models)
    assert problem.endswith(": lists 51 models; 50 are the most of one stack, so make another")
    models.popitem()
    assert _problems(**models) == ()


@pytest.mark.parametrize("name", ["a-dead-letter", "a-undelivered"])
def test_no_model_is_named_like_a_queue_of_another(name: str) -> None:
    """Two queues of one name would be one resource."""
    reason = "must not end in -dead-letter or -undelivered, as another model's queues do"
    assert _problems(**{name: {}}) == (f'models[0].name: given "{name}": {reason}',)
