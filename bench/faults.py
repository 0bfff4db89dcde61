"""The fault campaign: how many documents survive what, with the seed that repeats it.

python -m bench.faults [--documents 500] [--pods 3] [--seed N] [--runs 1]
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.worker import moto_server, rig, scripted_ollama
from tests.worker.campaign import Campaign


def main() -> None:
    """Prints the tally of each run; ends non-zero if a document was lost or answered twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--pods", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    lost = 0
    for _ in range(given.runs):
        seed = secrets.randbelow(10**8) if given.seed is None else given.seed
        print(f"seed {seed}, {given.documents} documents, {given.pods} pods", flush=True)
        started = time.monotonic()
        with (
            tempfile.TemporaryDirectory() as folder,
            scripted_ollama.running() as ollama,
            moto_server.process() as moto,
        ):
            around = rig.make(moto.endpoint, Path(folder), ollama.host)
            campaign = Campaign(around, seed, given.documents, given.pods)
            try:
                campaign.run(patience_seconds=1800)
            finally:
                around.close()
            problems = campaign.problems()
        for name, times in sorted(campaign.tally.items()):
            print(f"  {times:5}  {name}")
        for problem in problems:
            print(f"  PROBLEM {problem}")
        lost += len(problems)
        print(f"  {time.monotonic() - started:.0f} s, {len(problems)} documents with a problem", flush=True)
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
