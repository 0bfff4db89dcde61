"""Templates: what is filled, what stays as written, and what is said where texts and inputs do not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.template import TemplateError, fill, names

if TYPE_CHECKING:
    from pydantic import JsonValue

SLIP = "a placeholder is `{{ inputs.name }}`, without filters or code"

MODELFILE = '''\
FROM llama3.2:1b
SYSTEM You answer in {{ inputs.language }}, as JSON such as {"a": {"b": {}}}.
TEMPLATE """{{ if .System }}{{- .System }}{{ end }}{{range $i, $m := .Messages}}{{ .Content }}{{end}}"""
'''


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ inputs.text }}", "as is, ä"),
        ("{{inputs.text}}+{{\tinputs.text\n}}", "as is, ä+as is, ä"),
        ("{{ inputs.one }}, {{ inputs.half }}, {{ inputs.yes }}, {{ inputs.none }}", "1, 0.5, true, null"),
        ("{{ inputs.items }}", '["x", ["y", "ä"]]'),
        ("{{ inputs.items.0 }}{{ inputs.items.1.1 }}", "xä"),
        ("{{ inputs.map }}", '{"a": {"b-c": "d"}, "z": 1}'),
        ("{{ inputs.map.a }}", '{"b-c": "d"}'),
        ("{{ inputs.map.a.b-c }}", "d"),
        ("{{ inputs.0.0 }}", "digits name fields too"),
        ('{"a":{{ inputs.one }}}', '{"a":1}'),
        ("{{{ inputs.one }}}", "{1}"),
        ("{{ .Prompt }}{{ inputs.one }}{{ end }}", "{{ .Prompt }}1{{ end }}"),
    ],
)
def test_a_placeholder_becomes_its_value(text: str, filled: str) -> None:
    """Text goes in as it is, everything else as JSON, with the same words whatever the order of fields."""
    inputs: dict[str, JsonValue] = {
        "text": "as is, ä",
        "one": 1,
        "half": 0.5,
        "yes": True,
        "none": None,
        "items": ["x", ["y", "ä"]],
        "map": {"z": 1, "a": {"b-c": "d"}},
        "0": {"0": "digits name fields too"},
    }
    used = names(text)
    assert fill(text, inputs={name: value for name, value in inputs.items() if name in used}) == (filled,)


def test_a_modelfile_keeps_its_own_braces() -> None:
    """Only the placeholder changes in a Modelfile full of Go templates and JSON."""
    assert fill(MODELFILE, inputs={"language": "French"}) == (
        MODELFILE.replace("{{ inputs.language }}", "French"),
    )


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", set[str]()),
        ("{{ .Prompt }} {{ input.a }} {{ inputsa }} {{ inputs_ }} { inputs.a } inputs.a", set[str]()),
        ("{{ inputs.a }}{{inputs.b.c.0}}{{ inputs.a.d }}", {"a", "b"}),
        (
            "{{ inputs.größe }}{{ inputs.snake_case }}{{ inputs.kebab-case }}",
            {"größe", "snake_case", "kebab-case"},
        ),
    ],
)
def test_a_text_asks_for_names(text: str, asked: set[str]) -> None:
    """What a text asks for are the top-level inputs of its placeholders, and nothing else in braces."""
    assert names(text) == asked


def test_texts_are_filled_together() -> None:
    """An input of a task is used where its prompt or its system text uses it."""
    assert fill("{{ inputs.a }}", "-", "{{ inputs.b }}{{ inputs.a }}", inputs={"a": "1", "b": "2"}) == (
        "1",
        "-",
        "21",
    )
    assert fill(inputs={}) == ()


def test_all_problems_are_said_at_once() -> None:
    """What is missing, unused or not well formed is said in one error, and no value with it."""
    with pytest.raises(TemplateError) as caught:
        fill(
            "{{ inputs.gone }}\n{{ inputs.a | upper }}",
            "\n\n{{ inputs.map.gone }}{{ inputs.items.2 }}{{ inputs.text.0 }}{{ inputs.gone }}",
            inputs={
                "map": {"a": "SECRET"},
                "items": [1, 2],
                "text": "SECRET",
                "idle": "SECRET",
                "\0" * 99: 1,
            },
        )
    problems = (
        f"line 2: {SLIP}",
        "`inputs.gone` is asked for and not given",
        "`inputs.map.gone` is asked for and not given",
        "`inputs.items.2` is asked for and not given",
        "`inputs.text.0` is asked for and not given",
        "the input 'idle' is given and not used",
        f"the input {repr(chr(0) * 99)[:60]} is given and not used",
    )
    assert caught.value.problems == problems
    assert str(caught.value) == "; ".join(problems)


@pytest.mark.parametrize("index", ["-1", "01", "1_0", "\u0660", "9" * 5000, "a"])
def test_an_index_is_a_plain_number(index: str) -> None:
    """What is no index of a list is missing from it, whatever Python would make of it."""
    with pytest.raises(TemplateError) as caught:
        fill(f"{{{{ inputs.a.{index} }}}}", inputs={"a": list(range(12))})
    assert caught.value.problems == (f"`inputs.a.{index}` is asked for and not given",)


@pytest.mark.parametrize(
    "slip",
    [
        "{{ inputs }}",
        "{{inputs.}}",
        "{{ inputs..a }}",
        "{{ inputs.a. }}",
        "{{ inputs.a | upper }}",
        "{{ inputs.a b }}",
        "{{ inputs[0] }}",
        "{{ inputs . a }}",
        "{{- inputs.a -}}",
        "{{ inputs.a }",
        "{{ inputs.a",
        "{{ inputs.a.__class__() }}",
    ],
)
def test_a_slip_is_an_error(slip: str) -> None:
    """What begins as a placeholder and is none would silently become part of a prompt."""
    with pytest.raises(TemplateError) as caught:
        names(f"{{{{ inputs.b }}}}\n{slip}\n")
    assert caught.value.problems == (f"line 2: {SLIP}",)
    with pytest.raises(TemplateError) as caught:
        fill(f"\n{slip}\n", inputs={})
    assert caught.value.problems == (f"line 2: {SLIP}",)


def test_a_value_is_data() -> None:
    """No attribute, method or item of a Python object can be reached: only fields of JSON."""
    for path in ("a.__class__", "a.upper", "m.keys", "m.__len__", "l.append"):
        with pytest.raises(TemplateError, match="is asked for and not given"):
            fill(f"{{{{ inputs.{path} }}}}", inputs={path[0]: {"a": "x", "m": {}, "l": [1]}[path[0]]})


NAME = st.from_regex(r"[\w-]{1,8}", fullmatch=True)
BRACED = st.text(alphabet="{}|. -\n\"'ainputsPromptä0", max_size=40)
TEXT = st.text(max_size=20) | BRACED
LITERAL = TEXT.filter(lambda text: "inputs" not in text)
VALUE: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | NAME.map(lambda name: f"{{{{ inputs.{name} }}}}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(LITERAL | LITERAL.map(lambda text: f"{{{{{text}}}}}"), max_size=3))
def test_text_without_placeholders_is_unchanged(texts: list[str]) -> None:
    """Whatever braces a text has, they stay as written."""
    assert fill(*texts, inputs={}) == tuple(texts)


@given(st.lists(st.tuples(LITERAL, NAME, VALUE), max_size=4), LITERAL)
def test_filling_is_cutting_and_joining(parts: list[tuple[str, str, JsonValue]], end: str) -> None:
    """A text is filled value by value in one pass: what a value holds is never taken for a placeholder."""
    inputs = {name: value for _, name, value in parts}

    def shown(value: JsonValue) -> str:
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)

    text = "".join(f"{before} {{{{ inputs.{name} }}}}" for before, name, _ in parts) + end
    assert fill(text, inputs=inputs) == ("".join(f"{b} {shown(inputs[n])}" for b, n, _ in parts) + end,)
    assert names(text) == set(inputs)


def _places(value: JsonValue, path: str) -> list[tuple[str, JsonValue]]:
    """The path of everything in a value, as a template writes it."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(place for name, inner in below for place in _places(inner, f"{path}.{name}"))]


@given(VALUE)
def test_everything_in_an_input_can_be_reached(value: JsonValue) -> None:
    """Each field and each item has a path, and its own value is what is found there."""
    for path, inner in _places(value, "a"):
        (filled,) = fill(f"{{{{ inputs.{path} }}}}", inputs={"a": value})
        assert (filled if isinstance(inner, str) else json.loads(filled)) == inner


@given(
    st.lists(TEXT | NAME.map(lambda name: f"{{{{ inputs.{name} }}}}")).map("".join),
    st.dictionaries(NAME, VALUE),
)
def test_any_text_is_filled_or_refused(text: str, inputs: dict[str, JsonValue]) -> None:
    """A text and inputs fit, or every problem is said; a text is filled where exactly its names are given."""
    try:
        asked = names(text)
    except TemplateError:
        asked = None
    try:
        fill(text, inputs=inputs)
    except TemplateError as error:
        problems = error.problems
    else:
        problems = ()
    assert all(problem.strip() for problem in problems)
    assert problems or asked == set(inputs)
