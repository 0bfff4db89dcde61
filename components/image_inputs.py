"""What the pods' image is made of, and what a stack file may say instead. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from components.locked import locked
from components.versions import OLLAMA_IMAGE, PYTHON_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from components.locked import Lock

BUILD = "build"
"""What a stack file says for the image of this checkout."""

DOCKERFILE = "runtime/Dockerfile"

TAG_LENGTH = 16

_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""An image's reference (distribution/reference, `regexp.go`, without the rarer hosts and digests)."""


def build_or_reference(image: str) -> str:
    """What a stack file says of the image, as it is.

    Raises:
        ValueError: it is neither `build` nor a reference that always means the same image.
    """
    if image == BUILD:
        return image
    found = _REFERENCE.fullmatch(image)
    if not found or not (found["digest"] or found["tag"] not in (None, "latest")):
        raise ValueError(
            f"must be {BUILD}, or a reference with a tag other than latest, or a digest, such as "
            "registry.example.com/ollama-eks:0.1.0"
        )
    return image


def build_args(locks: Mapping[str, Lock]) -> dict[str, str]:
    """The Dockerfile's arguments: the images that it starts from, by digest where that is known."""
    return {
        "OLLAMA_IMAGE": locked(OLLAMA_IMAGE, locks),
        "PYTHON_IMAGE": locked(PYTHON_IMAGE, locks),
    }


def build_files(root: Path) -> list[Path]:
    """The Dockerfile, and the files that .dockerignore lets in: it excludes all, then names these."""
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("!") for line in lines if line.startswith("!")]
    return sorted(path for pattern in [DOCKERFILE, *patterns] for path in root.glob(pattern))


def content_tag(root: Path, args: Mapping[str, str]) -> str:
    """The tag of the image that is built from a checkout: another one for whatever makes it another image.

    Tags are immutable, so the tag has to change with all that makes Docker build anew: a file's name, its
    content and its mode, and the arguments.
    """
    files = [
        (
            path.relative_to(root).as_posix(),
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in build_files(root)
    ]
    return hashlib.sha256(json.dumps([files, args], sort_keys=True).encode()).hexdigest()[:TAG_LENGTH]
