"""The tiny model's file and the structure of its weights; what it answers is the worker tier's to show."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import gguf
import numpy as np
import pytest

from cli import tiny_model
from cli.tiny_model import END, FIRST_BYTE, FIRST_WORD, SPACE

if TYPE_CHECKING:
    from pathlib import Path

KINDS = get_args(tiny_model.Kind)
LEVELS = len(tiny_model.ONSETS)
WORDS_OF_A_LEVEL = len(tiny_model.RIMES)


def followers(kind: tiny_model.Kind, level: int) -> set[int]:
    """Return the tokens that the output matrix leaves possible after one of the level."""
    return set(
        np.flatnonzero(tiny_model.tensors(kind)["output.weight"][:, tiny_model.LEVELS + level] == 0).tolist()
    )


def words_of(level: int) -> set[int]:
    """Return the tokens of the words of a level, counted from 1."""
    first = FIRST_WORD + (level - 1) * WORDS_OF_A_LEVEL
    return set(range(first, first + WORDS_OF_A_LEVEL))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_every_time(kind: tiny_model.Kind, tmp_path: Path) -> None:
    """A model written by another process, in another hash seed, has the same digest in a model store."""
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    tiny_model.write(ours, kind)
    program = (
        f"import pathlib; from cli.tiny_model import write; write(pathlib.Path({str(theirs)!r}), {kind!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_kinds_are_different_models(tmp_path: Path) -> None:
    """No two kinds share a digest, so a store keeps them apart."""
    files = [tmp_path / kind for kind in KINDS]
    for file, kind in zip(files, KINDS, strict=True):
        tiny_model.write(file, kind)
    assert len({file.read_bytes() for file in files}) == len(KINDS)


def test_the_file_is_small_and_says_what_it_holds(tmp_path: Path) -> None:
    """Under 300 KB, one token for each byte, a context of 2,048, and no space put before a prompt."""
    path = tmp_path / "tiny.gguf"
    tiny_model.write(path)
    assert path.stat().st_size < 300_000
    reader = gguf.GGUFReader(path)

    def field(name: str) -> object:
        found = reader.get_field(name)
        assert found is not None, name
        return found.contents()

    assert field("llama.context_length") == tiny_model.CONTEXT_TOKENS == 2048
    assert field("tokenizer.ggml.add_space_prefix") is False
    tokens = field("tokenizer.ggml.tokens")
    assert isinstance(tokens, list)
    assert tokens[FIRST_BYTE:SPACE] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert len(tokens) == len(set(tokens)) == FIRST_WORD + LEVELS * WORDS_OF_A_LEVEL


def test_no_text_of_a_prompt_becomes_a_word() -> None:
    """The tokenizer joins characters by pairs, and no pair within a word is a token: every byte stays one."""
    texts = {word.replace(" ", "\N{LOWER ONE EIGHTH BLOCK}") for word in tiny_model.words()}
    pairs = {text[i : i + 2] for text in texts for i in range(len(text) - 1)}
    assert min(map(len, texts)) > 2
    assert pairs & texts == set()


@pytest.mark.parametrize(
    ("kind", "after_last"), [("answers", {END}), ("length", words_of(2))], ids=["answers", "length"]
)
def test_a_level_leads_to_the_next(kind: tiny_model.Kind, after_last: set[int]) -> None:
    """After each level exactly the words of the next are possible; after the last it depends on the kind."""
    assert [followers(kind, level) for level in range(LEVELS)] == [words_of(n + 1) for n in range(LEVELS)]
    assert followers(kind, LEVELS) == after_last


def test_a_runaway_leads_to_one_word_for_ever() -> None:
    """Whatever stands before, the first word is the only possible token."""
    assert [followers("runaway", level) for level in range(LEVELS + 1)] == [{FIRST_WORD}] * (LEVELS + 1)


def test_no_document_outweighs_the_levels() -> None:
    """What a word can gain by fitting is far under what the wrong level costs, even the end token."""
    weights = tiny_model.tensors("answers")["output.weight"]
    # After its norm the stream has length sqrt(width); the level's own place is the only one that costs.
    fit = np.abs(weights[FIRST_WORD:, tiny_model.CODES :]).sum(axis=1).max()
    assert -weights[END, tiny_model.LEVELS] > 10 * fit
    assert weights[FIRST_WORD:, tiny_model.LEVELS].min() == -tiny_model.IMPOSSIBLE_LOGIT


def test_every_byte_has_a_code_of_its_own() -> None:
    """Two documents that differ in one byte, whichever, have different fingerprints."""
    codes = tiny_model.tensors("answers")["token_embd.weight"][: SPACE + 1, tiny_model.CODES :]
    assert len(np.unique(codes, axis=0)) == SPACE + 1
