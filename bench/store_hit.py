"""How long a model's Job takes when the model is in the store already, beside a Python that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cli import tiny_model, toolchain
from runtime.spec import ModelSource, ModelSpec

RUNS = 15


def main() -> None:
    """Prints the medians of both, and their ratio."""
    ollama = toolchain.pinned_ollama()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tiny_model.write(folder / "tiny.gguf")
        source = ModelSource.model_validate({"modelfile": f"FROM {folder / 'tiny.gguf'}\n"})
        spec = folder / "model.json"
        spec.write_text(ModelSpec(source=source, store=str(folder / "models")).to_json())
        env = {**os.environ, "HOME": scratch, "PATH": f"{ollama.parent}{os.pathsep}{os.environ['PATH']}"}
        provision = [sys.executable, "-m", "runtime.provision", str(spec)]
        nothing = [sys.executable, "-c", "pass"]
        first = _seconds(provision, env)
        hits, floor = zip(
            *((_seconds(provision, env), _seconds(nothing, env)) for _ in range(RUNS)), strict=True
        )
    hit, bare = statistics.median(hits), statistics.median(floor)
    sys.stdout.write(
        f"first time, tiny model built: {first:.2f} s\n"
        f"store hit: median {hit:.3f} s, worst {max(hits):.3f} s of {RUNS} (promised: under 0.5 s)\n"
        f"a Python that does nothing: median {bare:.3f} s; a hit is {hit / bare:.1f} times that\n"
    )


def _seconds(command: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
