"""A stack file whose models get digests, and which is otherwise left as its author wrote it.

YAML is parsed for the places of keys and values only; the change is made in the text. A library that writes
YAML anew loses line widths, quotes, CRLF or the columns of comments.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS = "ollama-eks:models"
QUOTES = ("'", '"')


class StackFileError(Exception):
    """The file cannot be read or changed; the message is a sentence that names it."""


class _Edit(NamedTuple):
    """What comes instead of the text between two offsets."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class StackFile:
    """A stack file as it was read.

    Attributes:
        path: where it lies.
        models: the items of its list of models, as YAML reads them.
    """

    path: Path
    models: tuple[dict[str, Any], ...]
    _text: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> StackFile:
        """Reads a `Pulumi.<stack>.yaml`.

        Raises:
            StackFileError: it is none, or its models are not written as a YAML list.
        """
        try:
            text = path.read_bytes().decode()
            models = _models(text)
        except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise StackFileError(
                f"{path} is not a stack file with {MODELS} in its `config`: {problem}"
            ) from None
        if not isinstance(models, list) or not all(isinstance(model, dict) for model in cast("Any", models)):
            raise StackFileError(f"{MODELS} of {path} is not a YAML list of maps: write it as one")
        return cls(path, tuple(cast("list[dict[str, Any]]", models)), text)

    def with_digests(self, digests: Mapping[int, str]) -> str:
        """The file's text with these digests, by the models' places in the list; nothing else differs.

        Raises:
            StackFileError: the YAML is too artful for that, which the text is read again to find out.
        """
        nodes = _model_nodes(self._text)
        text = self._text
        edits = [self._edit(nodes[index], self.models[index], digest) for index, digest in digests.items()]
        for edit in sorted(edits, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        expected: Any = yaml.safe_load(self._text)
        for index, digest in digests.items():
            expected["config"][MODELS][index]["digest"] = digest
        with contextlib.suppress(yaml.YAMLError):
            if yaml.safe_load(text) == expected:
                return text
        names = ", ".join(f"{self.models[index].get('name')}: {digest}" for index, digest in digests.items())
        raise StackFileError(f"{self.path} is too artful to be changed: write each digest by hand ({names})")

    def write(self, text: str) -> None:
        """Puts the text in the file's place, in one step and with its mode and owner.

        Raises:
            StackFileError: somebody changed the file since it was read.
        """
        path = self.path.resolve()
        status = path.stat()
        if path.read_bytes() != self._text.encode():
            raise StackFileError(f"{self.path} was changed meanwhile: nothing is written, run this again")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _edit(self, node: yaml.MappingNode, model: Mapping[str, Any], digest: str) -> _Edit:
        entries = {key.value: (key, value) for key, value in node.value}
        if "digest" in entries:
            key, value = entries["digest"]
            start, end = value.start_mark.index, value.end_mark.index
            if not _in_line(key, value) or self._text[start : start + 1] in ("&", "!"):
                where = f"{self.path}, model {model.get('name')}"
                raise StackFileError(f"{where}: write {digest} by hand, with no alias, tag or block of text")
            return _Edit(start, end, f"{'' if start < end else ' '}{_quoted(digest, value)}")
        place = next((entries[name] for name in ("from", "modelfile", "name") if name in entries), None)
        key, value = place or node.value[0]
        entry = f"{_quoted('digest', key)}: {_quoted(digest, value)}"
        if not _in_line(key, value):
            between = ", " if node.flow_style else _newline(self._text) + " " * key.start_mark.column
            return _Edit(key.start_mark.index, key.start_mark.index, entry + between)
        if node.flow_style:
            return _Edit(value.end_mark.index, value.end_mark.index, f", {entry}")
        # On a line of its own, below what may be written behind the value.
        line = self._text.find("\n", value.end_mark.index)
        line = len(self._text) if line < 0 else line
        line -= self._text[line - 1 : line + 1] == "\r\n"
        return _Edit(line, line, _newline(self._text) + " " * key.start_mark.column + entry)


def _models(text: str) -> object:
    loaded: Any = yaml.safe_load(text)
    return loaded["config"][MODELS]


def _model_nodes(text: str) -> list[yaml.MappingNode]:
    """The models with their places in the text; what an alias stands for has the place of its anchor."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for wanted in ("config", MODELS):
        node = next(value for key, value in reversed(node.value) if key.value == wanted)
    return node.value


def _in_line(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether the value is written behind its key: no alias, no list or map, and no block of text."""
    return (
        isinstance(value, yaml.ScalarNode)
        and value.style not in ("|", ">")
        and value.start_mark.index >= key.end_mark.index
    )


def _quoted(text: str, like: yaml.Node) -> str:
    style: Any = getattr(like, "style", None)
    return f"{style}{text}{style}" if style in QUOTES else text


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
