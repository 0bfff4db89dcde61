"""What is wrong with a stack's config: sentences that say where, what was given, what would be right."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


SHOWN_CHARACTERS = 60
"""Of the value given; enough to find it in the file."""


class SettingsError(Exception):
    """The stack's config cannot be used; the message lists every problem, one a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"the stack's config has {len(problems)} problem(s):\n{lines}")


def describe(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Every problem that pydantic found in a value of type `root`, one sentence each."""
    return [_problem(details, root) for details in error.errors()]


def did_you_mean(given: str, known: Sequence[str]) -> str:
    """A question to append to an error, or nothing where no known name is near."""
    near = difflib.get_close_matches(given, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _problem(error: ErrorDetails, root: type[BaseModel]) -> str:
    path, known = _locate(error, root)
    match error["type"]:
        case "missing":
            return f"{path}: is required"
        case "extra_forbidden":
            return f"{path}: is not a key{did_you_mean(str(error['loc'][-1]), known)}"
        case "value_error":
            reason = error["msg"].removeprefix("Value error, ")
        case _:
            reason = error["msg"][0].lower() + error["msg"][1:]
    given = json.dumps(error["input"], default=str, ensure_ascii=False)
    shown = given if len(given) <= SHOWN_CHARACTERS else f"{given[:SHOWN_CHARACTERS]} ..."
    return f"{path}: given {shown}: {reason}"


def _locate(error: ErrorDetails, root: type[BaseModel]) -> tuple[str, list[str]]:
    """A problem's place as the stack file writes it, and the keys that are known there."""
    path, section, inner = "", root, root
    for part in error["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        section = inner
        keys = {field.alias or name: field for name, field in section.model_fields.items()}
        # Pydantic says where a default is wrong by the field's name; what it calls unknown is as given.
        key = part if part in keys or error["type"] == "extra_forbidden" else to_camel(part)
        path += f".{key}"
        inner = _part(keys[key].annotation) if key in keys else section
    return path.lstrip("."), [field.alias or name for name, field in section.model_fields.items()]


def _part(annotation: object) -> type[BaseModel]:
    """The model type in an annotation such as `Part` or `tuple[Part, ...]`; for a plain value, no part."""
    candidates = (annotation, *get_args(annotation))
    return next(
        (kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), BaseModel
    )
