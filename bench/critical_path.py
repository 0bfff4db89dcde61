"""What `pulumi up` of a new stack waits for: its longest chain of dependent resources, in seconds.

    python -m bench.critical_path [Pulumi.dev.yaml]

A resource waits for what it depends on, for the component around it, and for its provider. What each takes
comes from `bench.creation_times`; a type without a source there counts as one second, and is marked so.
A component takes no time of its own. A model's Job counts as nothing here, since a pull takes what it takes;
how long one may take before it lengthens the whole is said below.

Nothing of this has been measured on this system: it is what others' logs let one expect. Resources side by
side do not slow each other down here, and no limit on requests is hit.
"""

from __future__ import annotations

import argparse
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.creation_times import CREATION_TIMES
from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cli.graph import Resource

ASSUMED_SECONDS = 1
JOB = "kubernetes:batch/v1:Job"


def finish_times(graph: Mapping[str, Collection[str]], weights: Mapping[str, float]) -> dict[str, float]:
    """When each node is done, if each starts once all that it waits for are done.

    Args:
        graph: of each node, the nodes that it waits for; each of them is a key too.
        weights: what each node takes, zero or more.

    Raises:
        graphlib.CycleError: where nodes wait for each other.
    """
    done: dict[str, float] = {}
    for node in TopologicalSorter(graph).static_order():
        done[node] = max((done[before] for before in graph[node]), default=0) + weights[node]
    return done


def longest_path(graph: Mapping[str, Collection[str]], weights: Mapping[str, float]) -> list[str]:
    """The chain that is done last, first node first; of equal ones, that whose names come first.

    Args and Raises: as for `finish_times`.
    """
    done = finish_times(graph, weights)
    path: list[str] = []
    waiting_for: Collection[str] = graph
    while waiting_for:
        path.append(max(sorted(waiting_for), key=done.__getitem__))
        waiting_for = graph[path[-1]]
    return path[::-1]


def waits(resources: Mapping[str, Resource]) -> dict[str, set[str]]:
    """Of each resource, the resources that have to exist before it is created."""
    return {
        urn: resources.keys()
        & {*resource.dependencies, resource.parent, resource.provider.rpartition("::")[0]}
        for urn, resource in resources.items()
    }


def takes(resource: Resource) -> int:
    """The seconds that a resource takes: as in a log of others, or as assumed."""
    if resource.type in CREATION_TIMES:
        return CREATION_TIMES[resource.type].seconds
    return ASSUMED_SECONDS if resource.custom and resource.type != JOB else 0


def main() -> None:
    """Prints the chain, then the Jobs, then what the numbers rest on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("stack_file", type=Path, nargs="?", default=ROOT / "Pulumi.dev.yaml")
    resources = evaluate(parser.parse_args().stack_file).resources
    graph = waits(resources)
    weights = {urn: takes(resource) for urn, resource in resources.items()}
    done = finish_times(graph, weights)
    path = longest_path(graph, weights)
    total = done[path[-1]]

    print(f"pulumi up, estimated: {_minutes(total)}, models not counted\n\n  from  takes  resource")
    for urn in path:
        token = resources[urn].type
        assumed = "  (assumed)" if weights[urn] and token not in CREATION_TIMES else ""
        print(f"{done[urn] - weights[urn]:6.0f} {weights[urn]:6}  {token} {resources[urn].name}{assumed}")

    print("\nmodels: a Job publishes each, and takes what its pull takes")
    left = finish_times(_turned(graph), weights)
    for urn, resource in resources.items():
        if resource.type == JOB:
            room = total - done[urn] - left[urn]
            start = _minutes(done[urn])
            print(f"  {resource.name} starts after {start}; from {room:.0f} s on it makes the whole longer")

    print("\nseconds of one resource, in logs of others")
    for token in sorted({resources[urn].type for urn in path} & CREATION_TIMES.keys()):
        time = CREATION_TIMES[token]
        print(f"{time.seconds:6}  {token}  {time.source}{time.note and f' ({time.note})'}")
    assumed = {resources[urn].type for urn in graph if weights[urn]} - CREATION_TIMES.keys()
    print(f"\nassumed to take {ASSUMED_SECONDS} s each, without a source: {', '.join(sorted(assumed))}")


def _turned(graph: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Of each node, the nodes that wait for it."""
    turned: dict[str, set[str]] = {node: set() for node in graph}
    for node, befores in graph.items():
        for before in befores:
            turned[before].add(node)
    return turned


def _minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


if __name__ == "__main__":
    main()
