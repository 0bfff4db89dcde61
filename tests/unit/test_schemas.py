"""Schemas of answers: which are accepted, and what is said of an answer."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from runtime.schemas import Violation, check_schema, violation

if TYPE_CHECKING:
    from pydantic import JsonValue

PAPER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "pages": {"type": "integer", "minimum": 1},
        "a/b~c": {"$ref": "#/$defs/short"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["pages"],
    "$defs": {"short": {"type": "string", "maxLength": 3}},
}


def _fetches(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is asked of the network from now on."""
    fetched: list[object] = []
    monkeypatch.setattr(urllib.request, "urlopen", fetched.append)
    return fetched


@pytest.mark.parametrize(
    "schema",
    [
        PAPER,
        {},
        {"properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "nowhere"}},
        {"properties": {"child": {"$ref": "#"}}},
    ],
    ids=["usual", "anything", "a property of that name", "a constant", "recursive"],
)
def test_a_schema_is_accepted(schema: dict[str, JsonValue]) -> None:
    """References are followed where the schema has them, not where its data looks so."""
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "objekt"}, "$.type: 'objekt' is not valid under any of the given schemas"),
        (
            {"properties": {"a": {"minimum": "1"}}},
            "$.properties.a.minimum: '1' is not of type 'number'",
        ),
        ({"properties": {"a": {"pattern": "("}}}, "$.properties.a.pattern: '(' is not a 'regex'"),
        ({"items": {"$ref": "#/$defs/x"}}, "a `$ref` to '/$defs/x' leads nowhere within the schema"),
        (
            {"$ref": "https://example.com/schema"},
            "a `$ref` to 'https://example.com/schema' leads nowhere within the schema",
        ),
    ],
    ids=["type", "keyword", "pattern", "reference to nothing", "reference elsewhere"],
)
def test_what_is_no_schema(
    schema: dict[str, JsonValue], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told where and what; nothing is fetched to find out."""
    fetched = _fetches(monkeypatch)
    with pytest.raises(ValueError, match=r".") as caught:
        check_schema(schema)
    assert (str(caught.value), fetched) == (problem, [])


@pytest.mark.parametrize("answer", ['{"pages": 1}', ' {"pages": 2.0, "tags": ["a"], "a/b~c": "x"}\n'])
def test_an_answer_that_meets_its_schema(answer: str) -> None:
    """White space around it is no matter, and 2.0 is an integer, as JSON Schema says."""
    assert violation(PAPER, answer) is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"pages": 0}', Violation("#/properties/pages/minimum", "0 is less than the minimum of 1")),
        ("{}", Violation("#/required", "'pages' is a required property")),
        ('{"pages": 1, "a/b~c": "long"}', Violation("#/properties/a~1b~0c/maxLength", "'long' is too long")),
        (
            '{"pages": 1, "tags": [1]}',
            Violation("#/properties/tags/items/type", "1 is not of type 'string'"),
        ),
        ("Pages: 1", Violation("not JSON", "Expecting value: line 1 column 1 (char 0)")),
        ('{"pages": NaN}', Violation("not JSON", "NaN is not JSON")),
    ],
)
def test_an_answer_that_does_not(answer: str, found: Violation) -> None:
    """The rule is in the schema's words alone; the message may quote the answer."""
    assert violation(PAPER, answer) == found


@pytest.mark.parametrize(
    ("schema", "answer", "rule"),
    [
        (PAPER, "9" * 5000, "not JSON"),
        (PAPER, "[" * 100_000, "nested too deep"),
        ({"$ref": "#"}, "1", "nested too deep"),
        ({"$ref": "https://example.com/schema"}, "1", "$ref: https://example.com/schema"),
    ],
    ids=["digits", "brackets", "a schema of itself", "a schema elsewhere"],
)
def test_nothing_that_a_model_says_breaks_it(
    schema: dict[str, JsonValue], answer: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be held against the schema does not meet it; nothing is fetched to find out."""
    fetched = _fetches(monkeypatch)
    found = violation(schema, answer)
    assert found is not None
    assert (found.rule, fetched) == (rule, [])
