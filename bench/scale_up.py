"""From a message in an empty queue to the pod that will answer it: KEDA's part of a cold start.

python -m bench.scale_up [--runs 20]

On a real control plane and a real KEDA; what follows in a cluster, a node and a model, is not in it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import tools
from tests.cluster.cluster import running
from tests.cluster.processes import Processes
from tests.cluster.queues import Queues, operator_environment
from tests.cluster.stack import Stack
from tests.cluster.stacks import model, quick

POLL_SECONDS = 2
SCALING = {"pollSeconds": POLL_SECONDS, "cooldownSeconds": 1, "scaleDownPeriodSeconds": 1}
"""Back to zero as soon as may be: the runs are of what comes before."""

MODEL = "bench"
MOTO_SECONDS = 30


def main() -> None:
    """Prints the median and the longest of the runs, beside the poll interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder, "moto")) as processes:
        processes.start("moto", sys.executable, "-m", "tests.worker.moto_server")
        moto = processes.wait_for("moto's endpoint", lambda: processes.read_log("moto").strip(), MOTO_SECONDS)
        started = time.monotonic()
        with running(tools.folders(), Path(folder, "cluster"), operator_environment(moto)) as cluster:
            print(f"the cluster was up in {time.monotonic() - started:.1f} s")
            stack = Stack(cluster, Queues(moto))
            try:
                stack.up(quick(model(MODEL), scaling=SCALING))
                _report([_run(stack) for _ in range(runs)])
            finally:
                stack.close()


def _run(stack: Stack) -> float:
    """Seconds from the message to its pod, at a random moment between two polls."""
    queue, pods = stack.queue(MODEL), stack.pods
    pods.wait_for("no pod", lambda: not pods.of(MODEL), 30)
    time.sleep(random.uniform(POLL_SECONDS, 2 * POLL_SECONDS))  # noqa: S311  no secret
    queue.send()
    sent = time.monotonic()
    pods.wait_for("a pod", lambda: pods.of(MODEL), 30)
    (pod,) = pods.of(MODEL)
    queue.finish(queue.take())
    return pod.created - sent


def _report(seconds: list[float]) -> None:
    print(
        f"message to pod over {len(seconds)} runs, poll interval {POLL_SECONDS} s: "
        f"p50 {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s"
    )


if __name__ == "__main__":
    main()
