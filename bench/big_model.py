"""The tiny model with blocks that add nothing but bytes, loaded and run like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from cli import tiny_model

if TYPE_CHECKING:
    from pathlib import Path

    from cli.tiny_model import Matrix

HIDDEN = 16_384
"""Units of each block's feed-forward part: 6 MiB of weights, and buffers that stay small beside the model."""

NOT_COPIED = ("GGUF.", "general.architecture", "llama.block_count", "llama.feed_forward_length")


def write(path: Path, size: int) -> None:
    """Writes a model of about `size` bytes whose answers are those of the tiny one.

    The norms of the added blocks are zero, so whatever their weights are, they add nothing. The weights are
    random: zeros might cost a virtual disk nothing to read.
    """
    seed = path.with_suffix(".seed")
    tiny_model.write(seed)
    tiny = gguf.GGUFReader(seed)
    seed.unlink()
    block = 4 * tiny_model.WIDTH * (3 * HIDDEN + 4 * tiny_model.WIDTH)
    blocks = max(1, size // block)
    writer = gguf.GGUFWriter(path, "llama")
    for field in tiny.fields.values():
        if not field.name.startswith(NOT_COPIED):
            kinds = field.types
            writer.add_key_value(
                field.name, field.contents(), kinds[0], sub_type=kinds[-1] if len(kinds) > 1 else None
            )
    writer.add_block_count(1 + blocks)
    writer.add_feed_forward_length(HIDDEN)
    own = tiny_model.tensors("answers")
    # Every block has as many hidden units: those that the first one lacks are zero.
    for name in ("gate", "up"):
        own[f"blk.0.ffn_{name}.weight"] = _padded(own[f"blk.0.ffn_{name}.weight"], 0)
    own["blk.0.ffn_down.weight"] = _padded(own["blk.0.ffn_down.weight"], 1)
    for name, tensor in own.items():
        writer.add_tensor(name, tensor)
    random = np.random.default_rng(0)
    for number in range(1, 1 + blocks):
        for name, tensor in own.items():
            if name.startswith("blk.0."):
                fill = np.zeros if "norm" in name else random.random
                writer.add_tensor(name.replace(".0.", f".{number}."), fill(tensor.shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _padded(tensor: Matrix, axis: int) -> Matrix:
    missing = [(0, HIDDEN - size if place == axis else 0) for place, size in enumerate(tensor.shape)]
    return np.pad(tensor, missing)
