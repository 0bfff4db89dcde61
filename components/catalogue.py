"""What is known of the models of the Ollama library, by the names that users write; see `catalogue.txt`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.spec import ModelSource

K = 1024
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_SIZE = re.compile(r"([0-9.]+)([KMGT]B)")
_LIBRARY = re.compile(r"(?:https?://)?(?:registry\.ollama\.ai/library/|ollama\.com/library/|library/)?")


class Shape(NamedTuple):
    """What decides the memory that a model needs beyond its weights.

    Attributes:
        architecture: `general.architecture` of its file.
        layers: all of them.
        heads: of attention, in a layer.
        kv_heads: heads that have keys and values of their own.
        head_dim: width of a head.
        width: of an embedding.
        vocabulary: tokens.
        window: tokens that five of six layers look back; 0 where all look back over the whole context.
        source: where all of this comes from.
    """

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    vocabulary: int
    window: int
    source: Source


class Tag(NamedTuple):
    """One file of a model: its bytes (two to three digits where the source has no more), and its context."""

    size_bytes: int
    context_k: int | None
    sees: bool
    shape: Shape | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the library.

    Attributes:
        can: `text` for all that write, with `vision`, `tools`, `thinking` and `audio`; or `embedding` alone.
        tags: its files; empty for one that only its vendor serves.
        source: of all but the sizes and shapes.
    """

    name: str
    can: frozenset[str]
    tags: Mapping[str, Tag]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a model that a user named; None is unknown.

    Attributes:
        name: as the library writes it, with a tag.
        entry: the model of all tags.
        sees: whether it reads images.
        context_k: the context that it was trained on, in whole K (1024) tokens.
        size_bytes: of its weights, with those that read images.
        shape: what its cache depends on.
        single: why the server takes its requests one by one, as a noun; None where it takes several.
        hosted: whether it has no files: its vendor alone serves it.
    """

    name: str
    entry: Entry = field(repr=False)
    sees: bool
    context_k: int | None
    size_bytes: int | None
    shape: Shape | None
    single: str | None
    hosted: bool

    @property
    def embeds(self) -> bool:
        """Whether vectors are all that it gives."""
        return "embedding" in self.entry.can


def lookup(name: str) -> Known | None:
    """What is known of a name such as `llama3.2:3b` or `registry.ollama.ai/library/llama3.2`, if anything."""
    model, _, tag = _LIBRARY.sub("", name.lower(), count=1).partition(":")
    entry = ENTRIES.get(model)
    if entry is None:
        return None
    files = {each.lower(): value for each, value in entry.tags.items()}
    file = files.get(tag or "latest")
    contexts = {each.context_k for each in files.values()}
    return Known(
        name=f"{model}:{tag or 'latest'}",
        entry=entry,
        sees=file.sees if file else "vision" in entry.can,
        context_k=file.context_k if file else (contexts.pop() if len(contexts) == 1 else None),
        size_bytes=file.size_bytes if file else None,
        shape=file.shape if file else SHAPES.get(_size_of(model, tag)),
        single="embedding" if "embedding" in entry.can else SINGLE.get(model),
        hosted=not entry.tags,
    )


def known(source: ModelSource) -> Known | None:
    """What is known of a model's source, or of the library's model that it is built on."""
    pulled = source.pulled
    found = lookup(pulled.from_) if pulled is not None and pulled.from_ is not None else None
    # Other weights than those of the library have another size.
    return replace(found, size_bytes=None) if found is not None and source.quantize is not None else found


def _size_of(model: str, tag: str) -> str:
    """`llama3.1:8b` of `llama3.1` and `8b-instruct-q8_0`: all files of a size have one shape."""
    return f"{model}:{tag.partition('-')[0]}"


def _sections(text: str) -> dict[str, list[list[str]]]:
    """The file's rows, as words, by section; comments are left out and continued lines joined."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("= "):
            rows = found.setdefault(line.removeprefix("= ").partition(":")[0], [])
        elif line.startswith("    "):
            rows[-1].extend(line.split())
        elif line and not line.startswith("#"):
            rows.append(line.split())
    return found


def _bytes(size: str) -> int:
    found = _SIZE.fullmatch(size)
    return round(float(found[1]) * UNITS[found[2]]) if found else int(size)


def _tags(model: str, files: Sequence[str], common: int | None, *, sees: bool) -> Iterator[tuple[str, Tag]]:
    for file in files:
        names, _, rest = file.partition("=")
        size, *marks = rest.split("/")
        contexts = [int(mark.removesuffix("K")) for mark in marks if mark != "text"]
        shapes = [SHAPES.get(_size_of(model, name)) for name in names.split(",")]
        tag = Tag(
            size_bytes=_bytes(size),
            context_k=contexts[0] if contexts else common,
            sees=sees and "text" not in marks,
            shape=next((shape for shape in shapes if shape is not None), None),
            source=SOURCES["manifests" if size.isdigit() else "library"],
        )
        yield from ((name, tag) for name in names.split(","))


def _entry(name: str, can: str, context: str, *files: str) -> Entry:
    abilities = frozenset(can.split(","))
    return Entry(
        name=name,
        can=abilities if "embedding" in abilities else abilities | {"text"},
        tags=dict(
            _tags(
                name,
                [] if files == ("hosted",) else files,
                None if context == "-" else int(context.removesuffix("K")),
                sees="vision" in abilities,
            )
        ),
        source=SOURCES["library"],
    )


_FILE = _sections(Path(__file__).with_suffix(".txt").read_text(encoding="utf-8"))

SOURCES = {name: Source(" ".join(what), date.fromisoformat(day)) for name, day, *what in _FILE["sources"]}

SHAPES: dict[str, Shape] = {
    model: Shape(architecture, *map(int, row[:7]), source=SOURCES["configs"])
    for architecture, *row in _FILE["shapes"]
    for model in row[7:]
}

SINGLE: dict[str, str] = {
    model: architecture for architecture, *models in _FILE["single"] for model in models
}

ENTRIES: dict[str, Entry] = {row[0]: _entry(*row) for row in _FILE["models"]}
