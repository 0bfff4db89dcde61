"""Texts with `{{ inputs.name }}` in them: prompts, Modelfiles. Values go in; no code, no filters. Pure.

`{{ inputs.a.b }}` reaches into a map, `{{ inputs.items.0 }}` into a list. Text goes in as it is, all else as
JSON. What went in is never looked at again, so a value cannot ask for another. Every other brace stays as
written, those of Go templates (`{{ .Prompt }}`) and of JSON included.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

PLACEHOLDER = re.compile(r"\{\{\s*inputs((?:\.[\w-]+)+)\s*\}\}")
# What nobody writes but to get a value: a slip in it is an error, not text that a model is asked about.
_SLIP = re.compile(r"\{\{-?\s*inputs(?![\w-])")
_Path = tuple[str, ...]


class TemplateError(ValueError):
    """Texts and inputs that do not fit.

    Attributes:
        problems: all that was found, each a sentence that repeats no input's value.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def names(text: str) -> frozenset[str]:
    """The inputs that a text asks for: `a` where it has `{{ inputs.a.b }}`.

    Raises:
        TemplateError: a placeholder is not well formed.
    """
    if problems := _slips(text):
        raise TemplateError(problems)
    return frozenset(name for name, *_ in _paths(text))


def fill(*texts: str, inputs: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The texts with values in the place of their placeholders.

    They are filled together: each input has to be used, if only in part, in one of them.

    Raises:
        TemplateError: an input is missing or unused, or a placeholder is not well formed.
    """
    problems = [problem for text in texts for problem in _slips(text)]
    asked = dict.fromkeys(path for text in texts for path in _paths(text))
    values: dict[_Path, str] = {}
    for path in asked:
        try:
            values[path] = _render(_at(inputs, path))
        except KeyError:
            problems.append(f"`inputs.{'.'.join(path)}` is asked for and not given")
    used = {name for name, *_ in asked}
    problems += [f"the input {name!r:.60} is given and not used" for name in inputs if name not in used]
    if problems:
        raise TemplateError(problems)
    return tuple(PLACEHOLDER.sub(lambda found: values[_path(found)], text) for text in texts)


def _path(found: re.Match[str]) -> _Path:
    return tuple(found[1].removeprefix(".").split("."))


def _paths(text: str) -> list[_Path]:
    return [_path(found) for found in PLACEHOLDER.finditer(text)]


def _slips(text: str) -> list[str]:
    """The places where a placeholder begins and does not go on as one."""
    starts = [found.start() for found in _SLIP.finditer(text)]
    lines = [text.count("\n", 0, at) + 1 for at in starts if not PLACEHOLDER.match(text, at)]
    return [
        f"line {line}: a placeholder is `{{{{ inputs.name }}}}`, without filters or code" for line in lines
    ]


def _at(inputs: Mapping[str, JsonValue], path: _Path) -> JsonValue:
    """What lies at a path; the items of a list have their indexes as names."""
    value: JsonValue = dict(inputs)
    for name in path:
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if not isinstance(value, dict):
            raise KeyError(name)
        value = value[name]
    return value


def _render(value: JsonValue) -> str:
    """Text as it is, all else as JSON; sorted, so that equal values make equal prompts."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
