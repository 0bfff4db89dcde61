"""What FROM and ADAPTER may name: a model, an object of S3, a directory of such objects, a file. Pure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from runtime.ollama.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Sequence

S3 = "s3://"
DIRECTORY = "/"
"""At the end of an `s3://` URL: all that a converter needs of what lies below."""

# The characters of a bucket's name; a key has any, up to 1,024 bytes (S3 user guide, naming).
_OBJECT = re.compile(r"s3://[a-z0-9][a-z0-9.-]{0,62}/[^\r\n]*[^/\r\n][^\r\n]*")
_SPLIT = re.compile(r".*-[0-9]{5}-of-[0-9]{5}\.gguf")
_PART = re.compile(r".*\.(safetensors|pth|pt|json)")
MAX_KEY_BYTES = 1024

_SPLIT_PROBLEM = (
    "is a part of a split GGUF, of which Ollama loads the last part only: join the parts "
    "(`llama-gguf-split --merge first-part whole.gguf`) and name the whole"
)
_FORMS = "s3://bucket/key.gguf, s3://bucket/directory/, or the absolute path of a GGUF file"


def is_file(text: str) -> bool:
    """Whether it names files rather than a model."""
    return text.startswith((S3, "/"))


def check(text: str, *, model: bool) -> None:
    """Sees to it that FROM, or ADAPTER where `model` is false, can name this.

    Raises:
        ValueError: what is wrong with it, and what would be right.
    """
    if not is_file(text):
        if not model:
            raise ValueError(f"{text!r:.80} is no place of an adapter: take {_FORMS}")
        try:
            ModelName.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or {_FORMS}") from error
        return
    key = text.removeprefix(S3).partition("/")[2]
    if text.startswith(S3) and (not _OBJECT.fullmatch(text) or len(key.encode()) > MAX_KEY_BYTES):
        raise ValueError(
            f"{text!r:.80} names no object of S3: write s3://bucket/key.gguf or s3://bucket/directory/"
        )
    if _SPLIT.fullmatch(text):
        raise ValueError(f"{text!r:.80} {_SPLIT_PROBLEM}")
    if _PART.fullmatch(text):
        raise ValueError(f"{text!r:.80} is one file of several: name its directory, with a / at the end")


def of_directory(keys: Sequence[str]) -> tuple[str, ...]:
    """Of the keys below a directory, those that make a model, as `filesForModel` of the parser chooses.

    Weights lie at the top, those of an adapter too (which the command line of Ollama does not find).
    Configuration and tokenizer come with safetensors. The server converts nothing else but GGUF.

    Raises:
        ValueError: there are no such weights.
    """
    for pattern in ("model*.safetensors", "consolidated*.safetensors", "*.safetensors"):
        if chosen := _like(keys, pattern):
            tokenizer = _like(keys, "tokenizer.model") or _like(keys, "*/tokenizer.model")
            return (*chosen, *_like(keys, "*.json"), *_like(keys, "*/*.json"), *tokenizer)
    chosen = _like(keys, "*.gguf")
    if not chosen:
        raise ValueError("holds neither *.safetensors nor *.gguf")
    if any(_SPLIT.fullmatch(key) for key in chosen):
        raise ValueError(f"holds what {_SPLIT_PROBLEM}")
    return chosen


def _like(keys: Sequence[str], pattern: str) -> tuple[str, ...]:
    """Those at exactly the pattern's depth: unlike in a shell, fnmatch's star crosses slashes."""
    depth = pattern.count("/")
    return tuple(key for key in sorted(keys) if key.count("/") == depth and fnmatchcase(key, pattern))
