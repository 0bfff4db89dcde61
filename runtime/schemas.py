"""JSON schemas of answers: is this one, and does an answer meet it? Pure: nothing is ever fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with an answer.

    Attributes:
        rule: the place in the schema that it violates, such as `#/properties/pages/minimum`, or `not JSON`.
            The schema's own words alone, so it can be recorded.
        message: what was found, in a sentence that may quote the answer.
    """

    rule: str
    message: str


def check_schema(schema: Mapping[str, JsonValue]) -> None:
    """Checks that answers can be held against a schema (Draft 2020-12).

    Raises:
        ValueError: it is no schema, or it refers to something outside itself or to nothing.
    """
    # Slow to import, and only some tasks have a schema.
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415
    from referencing import Registry, Resource  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    def references(at: Resource[Any], resolver: Any) -> None:  # noqa: ANN401  of a private type
        contents: Any = at.contents
        if isinstance(contents, dict) and "$ref" in contents:
            resolver.lookup(contents["$ref"])
        for below in at.subresources():
            references(below, resolver.in_subresource(below))

    root: Resource[Any] = Resource(contents=schema, specification=DRAFT202012)
    registry: Registry[Any] = Registry()
    try:
        Draft202012Validator.check_schema(schema)
        references(root, registry.resolver_with_root(root))
    except SchemaError as error:
        raise ValueError(f"{error.json_path}: {error.message:.300}") from error
    except Unresolvable as error:
        raise ValueError(f"a `$ref` to {error.ref!r} leads nowhere within the schema") from error


def violation(schema: Mapping[str, JsonValue], answer: str) -> Violation | None:
    """What is wrong with an answer, the most telling thing of all; None for JSON that meets the schema."""
    from jsonschema.exceptions import (  # noqa: PLC0415
        best_match,  # pyright: ignore[reportUnknownVariableType]  its default key has no type
    )
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    try:
        value = json.loads(answer, parse_constant=_refuse)
        validator: Any = _validator(json.dumps(schema))
        error = cast("ValidationError | None", best_match(validator.iter_errors(value)))
    except ValueError as failure:
        # Besides what is no JSON at all: numbers of thousands of digits.
        return Violation("not JSON", str(failure))
    except RecursionError as failure:
        # Brackets by the thousand, or a schema that refers to itself and nothing else.
        return Violation("nested too deep", str(failure))
    except Unresolvable as failure:
        return Violation(f"$ref: {failure.ref}", str(failure))
    if error is None:
        return None
    steps = cast("Iterable[str | int]", error.absolute_schema_path)
    rule = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
    return Violation(f"#{rule}", error.message)


@lru_cache(maxsize=8)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    # With a registry of our own: the default one fetches what a `$ref` names from the network.
    return Draft202012Validator(json.loads(schema), registry=Registry())


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
