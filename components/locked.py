"""Digests of what others publish, as `tools/lock` has written them; where it has not run there are none."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path(__file__).with_name("versions.lock.json")

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Source = Annotated[str, StringConstraints(pattern=r"^https://\S+$")]


class Lock(BaseModel):
    """One digest.

    Attributes:
        digest: `sha256:` and 64 hex digits.
        source: the address that was asked.
        date: the day on which it answered so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: Digest
    source: Source
    date: date


LOCKS = TypeAdapter(dict[str, Lock])
"""By what is locked: an image's reference with its tag, or a chart's repository, name and version."""


def read(file: Path = FILE) -> dict[str, Lock]:
    """Every lock of the file.

    Raises:
        ValidationError: something in it is no lock, such as a digest without its source.
    """
    return LOCKS.validate_json(file.read_bytes())


def locked(image: str, locks: Mapping[str, Lock]) -> str:
    """An image's reference with its digest; as it is where no digest is known."""
    return f"{image}@{locks[image].digest}" if image in locks else image
