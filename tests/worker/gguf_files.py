"""GGUF files beside the tiny model: what a model can be built with."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gguf
import numpy as np

from cli import tiny_model

if TYPE_CHECKING:
    from pathlib import Path

RANK = 4


def write_adapter(path: Path) -> None:
    """A LoRA that changes what the tiny model's words are chosen by; the same bytes every time."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", RANK)
    width, hidden = tiny_model.tensors("answers")["blk.0.ffn_down.weight"].shape
    source = np.random.default_rng(5)
    down = source.standard_normal((RANK, hidden)), source.standard_normal((width, RANK))
    for name, matrix in zip(("lora_a", "lora_b"), down, strict=True):
        writer.add_tensor(f"blk.0.ffn_down.weight.{name}", matrix.astype(np.float32))
    _write(writer)


def write_half(path: Path, tiny: Path) -> None:
    """The tiny model as one that says it has 16 bits, which Ollama asks of what it is to quantise."""
    kind = b"general.file_type" + struct.pack("<I", gguf.GGUFValueType.UINT32)
    before, after = (kind + struct.pack("<I", value) for value in (0, gguf.LlamaFileType.MOSTLY_F16))
    content = tiny.read_bytes()
    path.write_bytes(content.replace(before, after))


def write_projector(path: Path) -> None:
    """A file that calls itself the projector of a vision model; enough to be built with, not to be loaded."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("projector")
    writer.add_tensor("v.patch_embd.weight", np.zeros((4, 32), np.float32))
    _write(writer)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
