"""Pools of nodes: one for each instance type, with room for all that its models can ask for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.autoscaler_tags import autoscaler_tags
from components.fit import Place
from components.instances import INSTANCES
from components.pools import Pool, pools
from components.settings import Settings, parse


def _settings(*models: dict[str, object], **stack: object) -> Settings:
    named = [{"name": f"m{at}", "from": "tiny", **model} for at, model in enumerate(models)]
    return parse({"image": "i:1", "models": named, **stack})


@pytest.mark.parametrize(
    ("stack", "max_nodes", "memory_mib"),
    [
        ({}, 10, 26_214),
        ({"maxInstances": 0}, 1, 26_214),
        ({"instanceType": "g6.12xlarge", "maxInstances": 3}, 2, 39_321),
        ({"instanceType": "g6.12xlarge", "maxInstances": 3, "gpuCount": 2}, 3, 78_643),
        ({"instanceType": "g6.12xlarge", "maxInstances": 3, "gpuCount": 3}, 6, 157_286),
        ({"instanceType": "m7i.xlarge", "gpuCount": 0}, 10, 13_107),
    ],
)
def test_nodes_and_memory_follow_from_the_instance(
    stack: dict[str, object], max_nodes: int, memory_mib: int
) -> None:
    """GPUs decide how many pods share a node, and 0.8 of its memory is theirs in equal parts."""
    parsed = _settings({}, {}, **stack)
    assert [pool.max_nodes for pool in parsed.pools] == [max_nodes]
    assert parsed.memory_mib_of(parsed.models[0]) == memory_mib


def test_each_instance_type_has_its_pool() -> None:
    """In the order in which the models name them; the stack's own has none where nobody runs on it."""
    parsed = _settings(
        {"instanceType": "g6e.xlarge", "maxInstances": 1},
        {"maxInstances": 2},
        {"instanceType": "m7i.xlarge", "gpuCount": 0, "maxInstances": 0},
        {"instanceType": "g6e.xlarge"},
    )
    assert parsed.pools == (Pool("g6e.xlarge", 6), Pool("g6.2xlarge", 2), Pool("m7i.xlarge", 1))
    assert [parsed.gpus_of(model) for model in parsed.models] == [1, 1, 0, 1]
    alone = _settings({"instanceType": "m7i.xlarge", "gpuCount": 0})
    assert alone.pools == (Pool("m7i.xlarge", 5),)


def test_models_of_different_sizes_may_each_need_a_node() -> None:
    """Two small pods on two nodes leave no room for a pod that needs a whole one."""
    small = {"instanceType": "g6.12xlarge", "gpuCount": 1, "maxInstances": 2}
    assert _settings(small, small).pools == (Pool("g6.12xlarge", 1),)
    assert _settings(small, {**small, "gpuCount": 4, "maxInstances": 1}).pools == (Pool("g6.12xlarge", 3),)


SIZES_AND_NUMBERS = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 4)), min_size=1, max_size=3)
COMINGS_AND_GOINGS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=20, max_size=60)


@settings(max_examples=300, deadline=None)
@given(SIZES_AND_NUMBERS, COMINGS_AND_GOINGS)
def test_no_pod_waits_for_a_node_beyond_the_ceiling(
    models: list[tuple[int, int]], moves: list[tuple[int, int]]
) -> None:
    """However pods came and went before: one that fits on no node that is there may always have another."""
    name = "g6.48xlarge"
    places = [(Place(instance_type=name, gpus=gpus), instances) for gpus, instances in models]
    (pool,) = pools(places)
    nodes: list[list[int]] = []
    for which, chosen in moves:
        model = which % len(models)
        gpus, instances = models[model]
        running = [node for node in nodes for each in node if each == model]
        if len(running) == instances:
            running[chosen % len(running)].remove(model)
            continue
        room = [node for node in nodes if sum(models[each][0] for each in node) + gpus <= 8]
        # The scheduler spreads: any node that has room may be the one.
        home = room[chosen % len(room)] if room else []
        home.append(model)
        if not room:
            nodes.append(home)
        assert len(nodes) <= pool.max_nodes


def test_the_autoscaler_is_told_what_a_node_would_have() -> None:
    """Its labels, taint, GPUs and disk, and how soon an empty one goes; of a CPU type nothing of GPUs."""
    tags = {
        "label/ollama-eks/pool": "g6.12xlarge",
        "label/k8s.amazonaws.com/accelerator": "nvidia-l4",
        "taint/ollama-eks/pool": "g6.12xlarge:NoSchedule",
        "resources/ephemeral-storage": "90Gi",
        "resources/nvidia.com/gpu": "4",
        "autoscaling-options/scaledownunneededtime": "2m",
    }
    assert autoscaler_tags(Pool("g6.12xlarge", 1), disk_gib=100) == tags
    of_gpus = {"label/k8s.amazonaws.com/accelerator", "resources/nvidia.com/gpu"}
    assert autoscaler_tags(Pool("m7i.xlarge", 1), disk_gib=100) == {
        key: value.replace("g6.12xlarge", "m7i.xlarge") for key, value in tags.items() if key not in of_gpus
    }


def test_cards_have_the_autoscalers_own_names() -> None:
    """A card that its list lacks is still announced, by its maker."""
    names = {instance.gpu: instance.accelerator for instance in INSTANCES.values() if instance.gpus}
    assert names == {
        "T4": "nvidia-tesla-t4",
        "A10G": "nvidia-a10g",
        "L4": "nvidia-l4",
        "L40S": "nvidia-l40s",
        "A100": "nvidia-tesla-a100",
        "H100": "nvidia",
        "H200": "nvidia",
    }
