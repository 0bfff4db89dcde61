"""Modelfiles of a stack's config: inline, or as files of the project."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The folder of `Pulumi.yaml`: what a path in a stack file is relative to."""

MAX_BYTES = 256 * 1024
"""It travels in a ConfigMap, which holds 1 MiB, twice, and in JSON a character may take six bytes."""

# No command of a Modelfile begins like this, so that a path is never taken for one.
_PATH = re.compile(r"(\.{1,2})?/[^\r\n]*")

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def modelfile_text(given: str) -> str:
    """The Modelfile's text: what is given, or what the file has now, if that is a path.

    A path is one line that begins with `./`, `../` or `/`. The file is read here, so that its content is
    what is deployed and what the model's hash covers. Its encoding is read as Ollama does it.

    Raises:
        ValueError: the file cannot be read, or the text is too long for a ConfigMap.
    """
    text = _content(PROJECT / given.strip()) if _PATH.fullmatch(given.strip()) else given
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(f"has {size} bytes, more than the {MAX_BYTES} that a Modelfile may have here")
    return text


def _content(path: Path) -> str:
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; paths begin at {PROJECT}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: byte {error.start} is wrong") from error
