"""Inputs in the place of a Modelfile's `{{ inputs.name }}`: values go in once the text has been parsed.

So a value stays a value: quotes, line ends and `FROM` in it mean nothing. Names of commands, of parameters
and of roles are never filled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtime import template
from runtime.ollama.commands import Command, ModelfileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import JsonValue

# One action of a Go template, to its end or to that of the text; quotes may hold its closing braces.
_ACTION = re.compile(r'\{\{(?:"(?:\\.|[^"\\])*"|`[^`]*`|[^"`])*?(?:\}\}|\Z)', re.DOTALL)
_INERT = "\0"


def fill(commands: Iterable[Command], inputs: Mapping[str, JsonValue]) -> tuple[Command, ...]:
    """The commands with the values of their placeholders: text as it is, all else as JSON.

    Raises:
        template.TemplateError: an input is missing, or none of the commands uses it.
        ModelfileError: a placeholder is not well formed, or a value would become code of a TEMPLATE.
    """
    written = tuple(commands)
    for command in written:
        try:
            template.names(command.value)
        except template.TemplateError as error:
            problem = "a placeholder is `{{ inputs.name }}`, without filters or code"
            raise ModelfileError(command.line, problem) from error
    values = template.fill(*(command.value for command in written), inputs=inputs)
    for command, value in zip(written, values, strict=True):
        if command.name == "TEMPLATE" and not _same_actions(command.value, value):
            problem = "an input would become code of the TEMPLATE: write its `{{ ... }}` in the Modelfile"
            raise ModelfileError(command.line, problem)
    return tuple(command._replace(value=value) for command, value in zip(written, values, strict=True))


def _same_actions(written: str, filled: str) -> bool:
    """Whether the server will run the actions that the author wrote, and no input stands inside one."""
    actions = _ACTION.findall(template.PLACEHOLDER.sub(_INERT, written))
    return actions == _ACTION.findall(filled) and not any(_INERT in action for action in actions)
