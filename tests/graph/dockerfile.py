"""A small reader of Dockerfiles: strict, so that it says nothing of what it does not know."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Copy(NamedTuple):
    """One `COPY`; the origin is the stage that is copied from, empty for the checkout."""

    origin: str
    source: str
    destination: str


@dataclass
class Stage:
    """One `FROM` of the Dockerfile, and its instructions in order."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def all(self, instruction: str) -> list[str]:
        """What each instruction of that kind says."""
        return [said for kind, said in self.instructions if kind == instruction]

    def environment(self) -> dict[str, str]:
        """What it sets, as it is written."""
        pairs = [pair.partition("=") for said in self.all("ENV") for pair in shlex.split(said)]
        return {name: value for name, _, value in pairs}

    def copies(self) -> list[Copy]:
        """What it copies."""
        found: list[Copy] = []
        for said in self.all("COPY"):
            *options, source, destination = said.split()
            origins = [each.removeprefix("--from=") for each in options if each.startswith("--from=")]
            found.append(Copy("".join(origins), source, destination))
        return found


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, with their defaults, and the stages.

    Raises:
        ValueError: an instruction is of a kind, or in a place, that this reader does not know.
    """
    lines = path.read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    args: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(str.strip, text.splitlines()):
        kind, _, said = line.partition(" ")
        match kind:
            case "ARG" if not stages:
                name, _, default = said.partition("=")
                args[name] = default
            case "FROM":
                base, _, name = said.partition(" AS ")
                stages.append(Stage(base, name))
            case "RUN" | "COPY" | "ENV" | "USER" | "WORKDIR":
                stages[-1].instructions.append((kind, " ".join(said.split())))
            case _:
                raise ValueError(f"{path} has {line!r}, which this reader does not know")
    return args, stages
