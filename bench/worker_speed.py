"""How much of the model server's time a worker leaves unused, what it costs, and how fast it starts and ends.

    python -m bench.worker_speed [--documents 200] [--slots 1 4] [--seconds 0.2 1.0] [--peer 'command {spec}']

The model server is a scripted one whose answers take a fixed time, so slots / seconds is the most that any
worker can reach. Documents of 1 to 3 KB wait in the queue before the worker starts. The share is taken from
the first answer's start to the end of the one that leaves `slots` to go: behind it, nothing is left to be
taken ahead. A peer is any other worker's command line; `{spec}`, `{queue_url}`, `{dead_letter_url}`,
`{documents}`, `{results}` and `{ollama_host}` are filled in, and AWS_ENDPOINT_URL and OLLAMA_HOST are set.
Each measurement has a fresh queue; ours and the peer's take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.computed import REGION
from cli.local.emulator import CREDENTIALS
from tests.worker import moto_server, rig
from tests.worker.rig import Rig, eventually

if TYPE_CHECKING:
    from collections.abc import Generator

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to.

    Attributes:
        share: of what the slots could do.
        cpu_ms: of the worker, milliseconds for each document, its start included.
        moto_ms: of the emulator, likewise: it shares the machine with the worker.
        peak_mib: the worker's largest resident memory.
        first_seconds: from the process's start to the end of its first document.
        stop_seconds: from SIGTERM, with nothing in hand, to its end.
    """

    share: float
    cpu_ms: float
    moto_ms: float
    peak_mib: float
    first_seconds: float
    stop_seconds: float


@contextmanager
def server(seconds: float, slots: int) -> Generator[str]:
    """A scripted model server as a process; gives its `address:port`."""
    command = [sys.executable, "-m", "tests.worker.scripted_ollama"]
    limits = ["--service-seconds", str(seconds), "--slots", str(slots)]
    with subprocess.Popen([*command, *limits], stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child.stdout.readline().strip() if child.stdout else ""
        finally:
            child.terminate()
            child.communicate()


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker is given to do: so many documents, and a server of so many slots and seconds."""

    count: int
    seconds: float
    slots: int


def measure(moto: moto_server.Process, folder: Path, load: Load, peer: str = "") -> Figures:
    """Has one worker answer all documents."""
    count, seconds, slots = load.count, load.seconds, load.slots
    with server(seconds, slots) as host:
        around = rig.make(moto.endpoint, folder, host)
        draw = random.Random(20261122)  # noqa: S311  no secret: the same documents for everybody
        for number in range(count):
            text = " ".join(f"{draw.randrange(10**6)}" for _ in range(draw.randrange(150, 450)))
            around.upload(f"{number:05}.txt", text.encode())
        emulator = moto.cpu_seconds()
        started = time.monotonic()
        worker = _peer(around, peer) if peer else around.worker(parallel=slots, visibility_seconds=300)
        try:
            eventually(lambda: len(_answers(host)) >= 1)
            eventually(around.is_empty, 120 + 3 * count * seconds / slots)
            emulator = moto.cpu_seconds() - emulator
            cpu, peak = _cpu_seconds(worker.pid), _peak_mib(worker.pid)
            told = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
            stopped = time.monotonic()
        finally:
            around.close()
        answers = _answers(host)
    begin = min(answer["start"] for answer in answers)
    ends = sorted(answer["end"] for answer in answers)
    counted = len(ends) - slots
    rate = counted / (ends[counted - 1] - begin)
    return Figures(
        share=rate / (slots / seconds),
        cpu_ms=1000 * cpu / count,
        moto_ms=1000 * emulator / count,
        peak_mib=peak,
        first_seconds=ends[0] - started,
        stop_seconds=stopped - told,
    )


def _peer(around: Rig, command: str) -> subprocess.Popen[bytes]:
    spec = around.folder / "peer-task.json"
    spec.write_text(around.task.to_json())
    words = [
        word.format(
            spec=spec,
            queue_url=around.task.queue_url,
            dead_letter_url=around.task.dead_letter_url,
            documents=around.task.documents_bucket,
            results=around.task.results_bucket,
            ollama_host=around.ollama_host,
        )
        for word in shlex.split(command)
    ]
    env = os.environ | CREDENTIALS
    env |= {
        "OLLAMA_HOST": around.ollama_host,
        "AWS_ENDPOINT_URL": around.endpoint,
        "AWS_DEFAULT_REGION": REGION,
    }
    return around.adopt(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL))


def _answers(host: str) -> list[dict[str, float]]:
    with urllib.request.urlopen(f"http://{host}/stats") as response:
        return json.load(response)["answers"]


def _cpu_seconds(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def _peak_mib(pid: int) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def main() -> None:
    """Measures and prints one line for each run, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.2, 1.0])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--peer", default="", help="another worker's command line")
    given = parser.parse_args()
    workers = {"ours": "", **({"peer": given.peer} if given.peer else {})}
    print("worker slots seconds  share  cpu ms/doc  emulator ms/doc  peak MiB  first s  stop s")
    with moto_server.process() as moto:
        for seconds in given.seconds:
            for slots in given.slots:
                found: dict[str, list[Figures]] = {name: [] for name in workers}
                for _ in range(given.runs):
                    for name, peer in workers.items():
                        with tempfile.TemporaryDirectory() as folder:
                            load = Load(given.documents, seconds, slots)
                            figures = measure(moto, Path(folder), load, peer)
                        found[name].append(figures)
                for name, all_of_it in found.items():
                    print(_line(name, slots, seconds, all_of_it), flush=True)


def _line(name: str, slots: int, seconds: float, found: list[Figures]) -> str:
    def median(field: str) -> Any:  # noqa: ANN401
        return statistics.median(getattr(figures, field) for figures in found)

    return (
        f"{name:6} {slots:5} {seconds:7.2f} {median('share'):6.3f} {median('cpu_ms'):11.1f}"
        f" {median('moto_ms'):16.1f} {median('peak_mib'):9.1f} {median('first_seconds'):8.2f}"
        f" {median('stop_seconds'):7.2f}"
    )


if __name__ == "__main__":
    main()
