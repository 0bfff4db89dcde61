"""Modelfiles: the text that says how a model is built, as a value and as the body of `/api/create`.

The server takes JSON only, so the text is parsed here, by the rules of `parser/parser.go` and of
`api.FormatParams` of the pinned version. It differs where that one loses what the author wrote: a retired
parameter is an error instead of a warning, and characters that Go calls unprintable, such as the ideographic
space, stay. It is laxer in one point: several blanks may stand before a parameter's name or a role.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from runtime.ollama.model_name import ModelName
from runtime.ollama.parameters import LIST, Parameter, parse_scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMMANDS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "LICENSE", "MESSAGE")
ROLES = ("system", "user", "assistant")

_COMMAND = re.compile(r"[ \t]*([A-Za-z]+)[ \t](.*)", re.DOTALL)
_WORD_AND_VALUE = re.compile(r"[ \t]*(\w+)[ \t](.*)", re.DOTALL | re.ASCII)
_FILE = re.compile(r"s3://[^/]+/.+|/.+")


class ModelfileError(ValueError):
    """A Modelfile that cannot be built: the line, what is written there, and what would be right."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"Modelfile, line {line}: {problem}")
        self.line = line


class Message(NamedTuple):
    """One turn of the conversation that stands before every chat."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Modelfile:
    """A parsed Modelfile.

    Attributes:
        base: what it is built from: a model's name, `s3://bucket/key` or the absolute path of a GGUF file.
        template: the prompt template; the last one counts, as of every command but the repeatable ones.
        system: the system prompt.
        licenses: every license, in order.
        parameters: the model's defaults by Ollama's names; `stop` is a tuple.
        messages: every message, in order.
    """

    base: str
    template: str | None
    system: str | None
    licenses: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    messages: tuple[Message, ...]

    @property
    def from_file(self) -> bool:
        """Whether `base` is a GGUF file, here or in S3, rather than a model's name."""
        return _FILE.fullmatch(self.base) is not None

    def create_request(self, model: str, origin: Mapping[str, object]) -> dict[str, object]:
        """The body of `/api/create`.

        Args:
            model: the name that the built model gets.
            origin: what `base` has become on the server: `{"from": name}` or `{"files": {name: digest}}`.
        """
        settings = {
            "template": self.template,
            "system": self.system,
            "license": self.licenses,
            "parameters": self.parameters,
            "messages": [message._asdict() for message in self.messages],
        }
        return {"model": model, **origin, **{name: value for name, value in settings.items() if value}}


class _Command(NamedTuple):
    """One command: the line it starts on, its name, its first word if it is of two parts, its value."""

    line: int
    name: str
    word: str
    value: str


def parse(text: str) -> Modelfile:
    """The value of a Modelfile's text.

    Raises:
        ModelfileError: at the first command that cannot be taken, or if there is no FROM.
    """
    bases: list[str] = []
    last: dict[str, str] = {}
    licenses: list[str] = []
    scalars: dict[str, Parameter] = {}
    stops: list[str] = []
    messages: list[Message] = []
    for command in _commands(text):
        try:
            match command.name:
                case "FROM":
                    bases.append(_base(command.value, bases))
                case "PARAMETER" if command.word == LIST:
                    stops.append(command.value)
                case "PARAMETER":
                    scalars[command.word] = parse_scalar(command.word, command.value)
                case "MESSAGE":
                    messages.append(Message(_role(command.word), command.value))
                case "LICENSE":
                    licenses.append(command.value)
                case name:
                    last[name] = command.value
        except ValueError as error:
            raise ModelfileError(command.line, str(error)) from error
    if not bases:
        raise ModelfileError(1, "there is no FROM in it: say what the model is built from")
    return Modelfile(
        base=bases[0],
        template=last.get("TEMPLATE"),
        system=last.get("SYSTEM"),
        licenses=tuple(licenses),
        parameters={**scalars, LIST: tuple(stops)} if stops else scalars,
        messages=tuple(messages),
    )


def _commands(text: str) -> Iterator[_Command]:
    """The commands in order. A value ends with its line, or with the line that closes its opening quote."""
    lines = enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=""), start=1)
    for number, line in lines:
        if not line.strip() or line.lstrip(" \t").startswith("#"):
            continue
        command = _COMMAND.fullmatch(line)
        name = command[1].upper() if command else line.strip()
        if command is None or name not in COMMANDS:
            problem = f"{name!r} is not supported here or lacks a value: take {', '.join(COMMANDS)}"
            raise ModelfileError(number, problem)
        word, value = "", command[2]
        if name in {"PARAMETER", "MESSAGE"}:
            pair = _WORD_AND_VALUE.fullmatch(value)
            if pair is None:
                example = "PARAMETER stop </s>" if name == "PARAMETER" else "MESSAGE user Hello"
                raise ModelfileError(number, f"{line.strip()!r} is not complete: write it like `{example}`")
            word, value = pair[1], pair[2]
        while (unquoted := _unquote(value.strip())) is None:
            following = next(lines, None)
            if following is None:
                raise ModelfileError(number, f"the quote that opens after {name} is closed at no line's end")
            value += following[1]
        yield _Command(number, name, word, unquoted)


def _unquote(text: str) -> str | None:
    """What stands between the quotes, or None while they are open. Nothing is escaped inside."""
    for quote in ('"""', '"'):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote)
            return text[len(quote) : -len(quote)] if closed else None
    return text


def _base(text: str, before: Sequence[str]) -> str:
    if before:
        msg = f"a second FROM, after `FROM {before[0]}`: keep one"
        raise ValueError(msg)
    if not _FILE.fullmatch(text):
        try:
            ModelName.parse(text)
        except ValueError as error:
            msg = f"{error}, or s3://bucket/key.gguf, or the absolute path of a GGUF file"
            raise ValueError(msg) from error
    return text


def _role(text: str) -> str:
    if text not in ROLES:
        msg = f"{text!r} is no role: take {', '.join(ROLES)}"
        raise ValueError(msg)
    return text
