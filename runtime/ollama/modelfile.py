"""Modelfiles: the text that says how a model is built, as a value and as the body of `/api/create`.

The server takes JSON only, so the text is parsed here, as `CreateRequest` of `parser/parser.go` of the pinned
version does it. That one loses in silence what stands before a second FROM or ADAPTER, and retired
parameters: here these are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from runtime.ollama import commands, rendering, weights
from runtime.ollama.commands import ModelfileError
from runtime.ollama.parameters import LIST, Parameter, parse_scalar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import JsonValue

__all__ = ["Message", "Modelfile", "ModelfileError", "check_syntax", "parse"]

# `golang.org/x/mod/semver`, which takes `1` and `1.2` too.
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}(\.{_NUMBER}(\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?)?)?"
)


class Message(NamedTuple):
    """One turn of the conversation that stands before every chat."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Modelfile:
    """A parsed Modelfile.

    Attributes:
        bases: what it is built from: a model's name, an `s3://` object or directory or the absolute path of
            a GGUF file; several are GGUF files, such as a model and its projector.
        adapter: where its one adapter lies.
        texts: its other single values under the names of `/api/create`; the last of each counts.
        licenses: every license, in order.
        parameters: the model's defaults by Ollama's names; `stop` is a tuple.
        messages: every message, in order.
    """

    bases: tuple[str, ...]
    adapter: str | None
    texts: Mapping[str, str]
    licenses: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    messages: tuple[Message, ...]

    @property
    def base(self) -> str:
        """What FROM names, the first one."""
        return self.bases[0]

    @property
    def from_file(self) -> bool:
        """Whether it is built from files, here or in S3, rather than from a model by name."""
        return weights.is_file(self.base)

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that FROM and ADAPTER name, but for models."""
        named = (*self.bases, *(() if self.adapter is None else (self.adapter,)))
        return tuple(name for name in named if weights.is_file(name))

    def create_request(self, model: str, origin: Mapping[str, object]) -> dict[str, object]:
        """The body of `/api/create`.

        Args:
            model: the name that the built model gets.
            origin: what the files have become on the server: `{"from": name}` or `{"files": {name: digest}}`,
                `{"adapters": {name: digest}}`.
        """
        settings = {
            **self.texts,
            "license": self.licenses,
            "parameters": self.parameters,
            "messages": [message._asdict() for message in self.messages],
        }
        return {"model": model, **origin, **{name: value for name, value in settings.items() if value}}


def check_syntax(text: str) -> None:
    """Raises ModelfileError where the text is not made of commands, whatever its inputs will be."""
    for _ in commands.read(text):
        pass


def parse(text: str, inputs: Mapping[str, JsonValue] | None = None) -> Modelfile:
    """The value of a Modelfile's text, its placeholders filled.

    Raises:
        ModelfileError: at the first command that cannot be taken, or if there is no FROM.
        runtime.template.TemplateError: inputs are missing or unused.
    """
    return _Draft().value(rendering.fill(commands.read(text), inputs or {}))


class _Draft:
    """A Modelfile while its commands are read."""

    def __init__(self) -> None:
        self.bases: list[str] = []
        self.adapter: str | None = None
        self.texts: dict[str, str] = {}
        self.licenses: list[str] = []
        self.scalars: dict[str, Parameter] = {}
        self.stops: list[str] = []
        self.messages: list[Message] = []

    def value(self, filled: Iterable[commands.Command]) -> Modelfile:
        for command in filled:
            try:
                self._take(command)
            except ValueError as error:
                raise ModelfileError(command.line, str(error)) from error
        if not self.bases:
            raise ModelfileError(1, "there is no FROM in it: say what the model is built from")
        return Modelfile(
            bases=tuple(self.bases),
            adapter=self.adapter,
            texts=self.texts,
            licenses=tuple(self.licenses),
            parameters={**self.scalars, LIST: tuple(self.stops)} if self.stops else self.scalars,
            messages=tuple(self.messages),
        )

    def _take(self, command: commands.Command) -> None:
        value = command.value
        match command.name:
            case "FROM":
                weights.check(value, model=True)
                self.bases.append(value)
                if len(self.bases) > 1 and not all(map(_one_file, self.bases)):
                    raise ValueError(
                        f"a second FROM, after `FROM {self.bases[0]}`: only GGUF files can be several"
                    )
            case "ADAPTER":
                weights.check(value, model=False)
                if self.adapter is not None:
                    raise ValueError(f"a second ADAPTER, after `ADAPTER {self.adapter}`: Ollama takes one")
                self.adapter = value
            case "PARAMETER" if command.word == LIST:
                self.stops.append(value)
            case "PARAMETER":
                self.scalars[command.word] = parse_scalar(command.word, value)
            case "MESSAGE":
                self.messages.append(Message(command.word, value))
            case "LICENSE":
                self.licenses.append(value)
            case "REQUIRES":
                self.texts["requires"] = _version(value)
            case name:
                self.texts[name.lower()] = value


def _one_file(base: str) -> bool:
    return weights.is_file(base) and not base.endswith(weights.DIRECTORY)


def _version(text: str) -> str:
    version = text.removeprefix("v")
    if not _VERSION.fullmatch(version):
        raise ValueError(f"{text!r:.60} is no version of Ollama: write it like 0.14.0")
    return version
