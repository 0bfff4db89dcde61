"""The provisioner's fault campaign: kills at random moments, and what the store was after each.

python -m bench.provision_faults [--kills 200] [--seed N]
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cli import tiny_model, toolchain
from tests.worker import ollama_server, registry
from tests.worker.provision.campaign import Campaign
from tests.worker.provision.command import Command


def main() -> None:
    """Prints the tally; ends non-zero if the store was wrong once, or a rerun did not finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    print(f"seed {seed}, {given.kills} kills", flush=True)
    started = time.monotonic()
    ollama = toolchain.pinned_ollama()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tiny_model.write(folder / "tiny.gguf")
        serve_from(folder / "registry", folder / "tiny.gguf", ollama)
        with registry.running(folder / "registry") as models:
            campaign = Campaign(Command(ollama, folder), models, seed)
            campaign.run(given.kills)
    for name, times in sorted(campaign.tally.items()):
        print(f"  {times:5}  {name}")
    for problem in campaign.problems:
        print(f"  PROBLEM {problem}")
    print(f"  {time.monotonic() - started:.0f} s, {len(campaign.problems)} problems", flush=True)
    sys.exit(bool(campaign.problems))


def serve_from(models: Path, gguf: Path, ollama: Path) -> None:
    """Makes a registry's model directory: `tiny`, of the file alone, and `full`, with a system prompt."""
    with ollama_server.running(ollama, models) as url:
        for name, system in {"tiny": "", "full": "SYSTEM Be brief.\n"}.items():
            path = models.parent / f"{name}.modelfile"
            path.write_text(f"FROM {gguf}\n{system}")
            subprocess.run(
                [ollama, "create", name, "-f", path],
                env={"OLLAMA_HOST": url, "HOME": str(models.parent)},
                check=True,
                capture_output=True,
            )


if __name__ == "__main__":
    main()
