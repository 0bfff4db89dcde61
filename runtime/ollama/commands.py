"""A Modelfile's text as its commands, by the rules of `parser/parser.go` (`ParseFile`) of the pinned version.

It differs where that one loses what the author wrote: characters that Go calls unprintable (a no-break space,
the joiners of emoji and of Persian) stay in values. DRAFT is refused there too, later and without a line.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = (
    "FROM",
    "PARAMETER",
    "TEMPLATE",
    "SYSTEM",
    "ADAPTER",
    "LICENSE",
    "MESSAGE",
    "REQUIRES",
    "RENDERER",
    "PARSER",
)
ROLES = ("system", "user", "assistant")

_BLANK = " \t\r\n"
_COMMAND = re.compile(r"[ \t]*([A-Za-z]+)[ \t](.*)", re.DOTALL)
_WORD_AND_VALUE = re.compile(r"(\w+)[ \t](.*)", re.DOTALL | re.ASCII)
_EXAMPLES = {"PARAMETER": "PARAMETER stop </s>", "MESSAGE": "MESSAGE user Hello"}


class ModelfileError(ValueError):
    """A Modelfile that cannot be built: the line, what is written there, and what would be right."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"Modelfile, line {line}: {problem}")
        self.line = line


class Command(NamedTuple):
    """One command: the line it starts on, its name, its first word if it is of two parts, its value."""

    line: int
    name: str
    word: str
    value: str


def read(text: str) -> Iterator[Command]:
    """The commands in order. A value ends with its line, or with the line that closes its opening quote.

    Raises:
        ModelfileError: at the first text that is no whole command.
    """
    lines = enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=""), start=1)
    for number, line in lines:
        if not line.strip(_BLANK) or line.lstrip(_BLANK).startswith("#"):
            continue
        command = _COMMAND.fullmatch(line)
        name = command[1].upper() if command else line.strip()
        if command is None or name not in COMMANDS:
            problem = f"{name!r:.60} is no command or lacks a value: take {', '.join(COMMANDS)}"
            raise ModelfileError(number, problem)
        word, value = "", command[2]
        if name in _EXAMPLES:
            pair = _WORD_AND_VALUE.fullmatch(value)
            if pair is None:
                problem = f"{line.strip()!r:.60} is not complete: write it like `{_EXAMPLES[name]}`"
                raise ModelfileError(number, problem)
            word, value = pair[1], pair[2]
        if name == "MESSAGE" and word not in ROLES:
            raise ModelfileError(number, f"{word!r:.60} is no role: take {', '.join(ROLES)}")
        while (unquoted := _unquote(value.strip())) is None:
            following = next(lines, None)
            if following is None:
                raise ModelfileError(number, f"the quote that opens after {name} is closed at no line's end")
            value += following[1]
        yield Command(number, name, word, unquoted)


def _unquote(text: str) -> str | None:
    """What stands between the quotes, or None while they are open. Nothing is escaped inside."""
    for quote in ('"""', '"'):
        if text.startswith(quote):
            end = _printable_end(text)
            closed = end >= 2 * len(quote) and text.endswith(quote, 0, end)
            return text[len(quote) : end - len(quote)] if closed else None
    return text


def _printable_end(text: str) -> int:
    """The length without what cannot be seen at the end: a quote closes before it, as it does for Ollama."""
    end = len(text)
    while end and not text[end - 1].isprintable():
        end -= 1
    return end
