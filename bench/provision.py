"""What provisioning costs: a model that is there, one of 1 GB that is not, and a second one on its base.

python -m bench.provision [--runs 3] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cli import toolchain
from runtime.spec import ModelSource, ModelSpec
from tests.worker import ollama_server, registry

MODEL_BYTES = 10**9
BIG_BYTES = 2 * 10**9
MANY_MODELS = 30
HITS = 15
MODEL = "application/vnd.ollama.image.model"
SYSTEM = "application/vnd.ollama.image.system"
CONFIG = "application/vnd.docker.container.image.v1+json"


class Cost(NamedTuple):
    """What one command took."""

    seconds: float
    written: int
    """Bytes that it and its children sent to the disk (`ru_oublock`, in blocks of 512 bytes)."""


class Bench:
    """A folder with a registry's models, and the environment of a pod."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ollama = toolchain.pinned_ollama()
        self.env = {
            "HOME": str(folder),
            "PATH": f"{self.ollama.parent}{os.pathsep}{os.environ['PATH']}",
            "OLLAMA_HOST": "127.0.0.1:11499",
        }

    def provision(self, spec: ModelSpec) -> Cost:
        """Runs the command for a model, from the start of its process to the end."""
        path = self.folder / "spec.json"
        path.write_text(spec.to_json())
        return self.timed([sys.executable, "-m", "runtime.provision", str(path)], self.env)

    def timed(self, command: list[str], env: dict[str, str]) -> Cost:
        """Runs a command to its end."""
        started = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None  # noqa: S101  as asked for
        with process.stdout:
            output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}: {output.decode()}")
        return Cost(time.perf_counter() - started, used.ru_oublock * 512)


def blob(models: Path, kind: str, content: bytes | Path) -> dict[str, object]:
    """Adds a blob to a model directory: what a manifest says of it. A file is moved there."""
    (models / "blobs").mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        digest, size = hashlib.sha256(content).hexdigest(), len(content)
        (models / "blobs" / f"sha256-{digest}").write_bytes(content)
    else:
        with content.open("rb") as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size
        content.rename(models / "blobs" / f"sha256-{digest}")
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def offer(models: Path, name: str, *layers: dict[str, object]) -> None:
    """Adds a model of these layers to a registry's model directory."""
    manifest = {"schemaVersion": 2, "config": blob(models, CONFIG, b"{}"), "layers": layers}
    path = models / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))


def main() -> None:
    """Prints the figures beside what they are measured against."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="on the file system to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        bench = Bench(Path(scratch))
        hits(bench)
        pulls(bench, given.runs)


def hits(bench: Bench) -> None:
    """A model that is there: alone, beside many, and a big one."""
    nothing = [bench.timed([sys.executable, "-c", "pass"], bench.env).seconds for _ in range(HITS)]
    floor = statistics.median(nothing)
    for models, size in ((1, 1000), (MANY_MODELS, 1000), (1, BIG_BYTES)):
        store = bench.folder / "hits"
        specs = [
            ModelSpec(source=ModelSource.model_validate({"from": f"m{number}"}), store=str(store))
            for number in range(models)
        ]
        for spec in specs:
            weights = Path(spec.directory) / "blobs" / "sha256-x"
            weights.parent.mkdir(parents=True)
            weights.touch()
            os.truncate(weights, size)
            Path(spec.directory, "model.json").write_text("{}")
        seconds = [bench.provision(specs[-1]).seconds for _ in range(HITS)]
        middle = statistics.median(seconds)
        print(
            f"store hit, {models} models of {size / 1e6:g} MB: median {middle:.3f} s, "
            f"worst {max(seconds):.3f} s of {HITS} (promised: under 0.5 s); "
            f"{middle / floor:.1f} times a Python that does nothing",
            flush=True,
        )
        shutil.rmtree(store)


def pulls(bench: Bench, runs: int) -> None:
    """A model of 1 GB, by us and by `ollama pull`, in turns; then one more on its base."""
    models = bench.folder / "registry"
    weights = bench.folder / "weights"
    with weights.open("wb") as file:
        for _ in range(MODEL_BYTES // 10**7):
            file.write(secrets.token_bytes(10**7))
    base = blob(models, MODEL, weights)
    offer(models, "base", base)
    offer(models, "second", base, blob(models, SYSTEM, b"Be brief."))
    ours, theirs, passes = [], [], []
    with registry.running(models) as serving:
        for _ in range(runs):
            theirs.append(pull(bench, serving.name("base")))
            passes.append(hash_pass(models / "blobs" / str(base["digest"]).replace(":", "-")))
            ours.append(two_models(bench, serving))
    plain, sha, first = (
        statistics.median(all_) for all_ in (theirs, passes, [one.seconds for one, _ in ours])
    )
    print(
        f"a model of {MODEL_BYTES / 1e9:g} GB, medians of {runs}: ours {first:.2f} s (all: "
        f"{', '.join(f'{one.seconds:.2f}' for one, _ in ours)}); `ollama pull` {plain:.2f} s (all: "
        f"{', '.join(f'{one:.2f}' for one in theirs)}); one sha256 pass {sha:.2f} s\n"
        f"  against pull + pass + 1.5 s = {plain + sha + 1.5:.2f} s: {first / (plain + sha + 1.5):.2f}; "
        f"against pull alone: {first / plain:.2f}"
    )
    one, other = ours[-1]
    print(
        f"a second model on that base: {other.seconds:.2f} s, {other.written} bytes written, "
        f"{100 * other.written / one.written:.3f} % of the first one's {one.written} (promised: under 5 %)"
    )


def pull(bench: Bench, name: str) -> float:
    """Seconds of `ollama pull` with a server that is up already; without a flush to the disk."""
    models = bench.folder / "plain"
    with ollama_server.running(bench.ollama, models) as url:
        command = [str(bench.ollama), "pull", "--insecure", name.removeprefix("http://")]
        cost = bench.timed(command, bench.env | {"OLLAMA_HOST": url})
    shutil.rmtree(models)
    os.sync()
    return cost.seconds


def hash_pass(path: Path) -> float:
    """Seconds of one sha256 pass over bytes in the page cache."""
    started = time.perf_counter()
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    return time.perf_counter() - started


def two_models(bench: Bench, serving: registry.Registry) -> tuple[Cost, Cost]:
    """What the base costs in an empty store, and then the second model."""
    store = bench.folder / "models"
    specs = [
        ModelSpec(source=ModelSource.model_validate({"from": serving.name(name)}), store=str(store))
        for name in ("base", "second")
    ]
    costs = [bench.provision(spec) for spec in specs]
    shutil.rmtree(store)
    os.sync()
    return costs[0], costs[1]


if __name__ == "__main__":
    main()
