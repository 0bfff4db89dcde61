"""What is wrong with a stack's config: sentences that say where, what was given, what would be right."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

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
    path, known = _locate(error["loc"], root)
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


def _locate(location: Sequence[str | int], root: type[BaseModel]) -> tuple[str, list[str]]:
    """A place as the stack file writes it, and the keys that are known there."""
    path, section, inner = "", root, root
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        section = inner
        # Pydantic names a field by its key, but a default by its own name.
        named = {part: field for name, field in section.model_fields.items() if part in (name, field.alias)}
        path += f".{named[part].alias or part}" if named else f".{part}"
        inner = _part(named[part].annotation) if named else section
    keys = [field.alias or name for name, field in section.model_fields.items()]
    return path.lstrip("."), keys


def _part(annotation: object) -> type[BaseModel]:
    """The model type in an annotation such as `Part` or `tuple[Part, ...]`; without one, a part of nothing."""
    candidates = (annotation, *get_args(annotation))
    return next(
        (kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), BaseModel
    )
