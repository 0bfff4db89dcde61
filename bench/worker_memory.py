"""How much memory a worker takes: over thousands of documents of text, and with large images in hand.

    python -m bench.worker_memory [--documents 2000] [--image-mib 50]

Promised: flat and under 150 MiB for text, under 200 MiB with two 50 MiB images in hand.
"""

from __future__ import annotations

import argparse
import secrets
import struct
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.worker import moto_server, rig, scripted_ollama
from tests.worker.rig import eventually

if TYPE_CHECKING:
    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import Reply, ScriptedOllama

MIB = 1024 * 1024
SAMPLES = 5


def main() -> None:
    """Prints resident memory while text is answered, then its peak with images in hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--image-mib", type=int, default=50)
    given = parser.parse_args()
    with moto_server.process() as moto, scripted_ollama.running() as ollama:
        for measure in (_text, _images):
            with tempfile.TemporaryDirectory() as folder:
                around = rig.make(moto.endpoint, Path(folder), ollama.host)
                try:
                    measure(around, ollama, given)
                finally:
                    around.close()


def _text(around: Rig, _ollama: ScriptedOllama, given: argparse.Namespace) -> None:
    worker = around.worker(parallel=4, visibility_seconds=300)
    part = given.documents // SAMPLES
    for sample in range(SAMPLES):
        for number in range(part):
            around.upload(f"{sample}-{number}.txt", secrets.token_hex(1000).encode())
        eventually(around.is_empty, 600)
        print(f"text: {(sample + 1) * part:5} documents, {_memory(worker.pid, 'VmRSS'):.1f} MiB", flush=True)
    print(f"text: at most {_memory(worker.pid, 'VmHWM'):.1f} MiB")


def _images(around: Rig, ollama: ScriptedOllama, given: argparse.Namespace) -> None:
    both = threading.Barrier(2, timeout=120)

    def together(_: dict[str, Any]) -> Reply:
        both.wait()
        return scripted_ollama.answer("two pictures")

    ollama.script = together
    ollama.shown["capabilities"] = ["completion", "vision"]
    worker = around.worker(parallel=2, visibility_seconds=300)
    for name in ("one.png", "two.png"):
        around.upload(name, _png(given.image_mib * MIB), "image/png")
    started = time.monotonic()
    eventually(around.is_empty, 300)
    print(
        f"images: two of {given.image_mib} MiB at once, at most {_memory(worker.pid, 'VmHWM'):.1f} MiB, "
        f"{time.monotonic() - started:.1f} s"
    )


def _png(size: int) -> bytes:
    """A picture of noise, a little more than `size` bytes: noise cannot be compressed."""
    width = 4096
    rows = size // (3 * width) + 1
    noise = b"".join(b"\0" + secrets.token_bytes(3 * width) for _ in range(rows))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, rows, 8, 2, 0, 0, 0)
    body = zlib.compress(noise, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _memory(pid: int, kind: str) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status[kind].split()[0]) / 1024


if __name__ == "__main__":
    main()
