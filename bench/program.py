"""How long the program takes by itself: one evaluation, each further model, and the command's help.

    python -m bench.program [--runs 5]

Every evaluation is the first of its process: a fork of one that has imported the SDK, and of the SDK what the
program uses, so that the time is the program's own imports, its run, and the mock engine of `cli.graph`.
The SDK's objects are out of the garbage collector's sight, so that a fork does not copy them to look at them.
What a model takes is the processor's time, which other processes disturb less, from one to nine models and
from 42 to 50; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import multiprocessing
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEV = ROOT / "Pulumi.dev.yaml"
FIRST, LAST = (1, 9), (42, 50)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one evaluation: on the clock, and of the processor."""

    clock: float
    processor: float


def evaluation(changes: Mapping[str, Any]) -> Took:
    """Evaluates the dev stack with these changes."""
    clock, processor = time.perf_counter(), time.process_time()
    evaluate(DEV, changes)
    return Took(time.perf_counter() - clock, time.process_time() - processor)


def sdk_modules(_: object) -> list[str]:
    """What the program uses of the SDK: names of the packages that an evaluation loads."""
    evaluate(DEV)
    return [
        name
        for name, module in sys.modules.items()
        if name.startswith("pulumi") and type(module) is ModuleType and "__path__" in vars(module)
    ]


def models(count: int) -> dict[str, Any]:
    """A stack of so many models."""
    return {"models": [{"name": f"model-{number}", "from": "llama3.2:3b"} for number in range(count)]}


def in_a_fork(function: Callable[[Any], Any], argument: object) -> Any:  # noqa: ANN401  what it returns
    """Calls it in a process of its own, which has what this one has imported."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, (argument,))


def per_model(counts: tuple[int, int]) -> float:
    """Processor seconds for each model between two counts."""
    few, many = (in_a_fork(evaluation, models(count)).processor for count in counts)
    return (many - few) / (counts[1] - counts[0])


def help_seconds() -> float:
    """From the start of `ollama-eks --help` to its end."""
    started = time.perf_counter()
    command = [Path(sys.executable).parent / "ollama-eks", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measures, and prints what was found beside what is promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = range(parser.parse_args().runs)
    for name in in_a_fork(sdk_modules, None):
        # The SDK registers all of its packages, and loads one when it is first asked for an attribute.
        hasattr(importlib.import_module(name), "loaded")
    gc.collect()
    gc.freeze()
    own = statistics.median(in_a_fork(evaluation, {}).clock for _ in runs)
    rounds = [(per_model(FIRST), per_model(LAST)) for _ in runs]
    first, last = (statistics.median(column) for column in zip(*rounds, strict=True))
    told = statistics.median(help_seconds() for _ in runs)

    print(f"{'':40}  measured  promised")
    print(f"{'the dev stack, over the SDK imports':40}  {own:6.2f} s  at most 1.0 s")
    print(f"{f'a model, from {FIRST[0]} to {FIRST[1]}':40}  {1000 * first:5.1f} ms")
    print(f"{f'a model, from {LAST[0]} to {LAST[1]}':40}  {1000 * last:5.1f} ms")
    print(f"{'the latter over the former':40}  {last / first:8.2f}  below 1.3")
    print(f"{'ollama-eks --help':40}  {told:6.2f} s  below 0.5 s")


if __name__ == "__main__":
    main()
