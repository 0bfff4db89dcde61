"""What is wrong with a stack's config: sentences that say where, what was given, what would be right."""

from __future__ import annotations

import difflib
import json
import textwrap
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


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
    location = error["loc"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    match error["type"]:
        case "missing":
            return f"{path}: is required"
        case "extra_forbidden":
            return f"{path}: is not a key{did_you_mean(str(location[-1]), _keys(root, location[:-1]))}"
        case "value_error":
            reason = error["msg"].removeprefix("Value error, ")
        case _:
            reason = error["msg"][0].lower() + error["msg"][1:]
    given = json.dumps(error["input"], default=str, ensure_ascii=False)
    return f"{path}: given {textwrap.shorten(given, 60, placeholder=' ...')}: {reason}"


def _keys(root: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that the part of the config at this path knows."""
    for part in path:
        if isinstance(part, str):
            root = next(
                _part(field.annotation) for field in root.model_fields.values() if part == field.alias
            )
    return [field.alias or name for name, field in root.model_fields.items()]


def _part(annotation: object) -> type[BaseModel]:
    """The model type in an annotation such as `Part` or `tuple[Part, ...]`."""
    candidates = (annotation, *get_args(annotation))
    return next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
