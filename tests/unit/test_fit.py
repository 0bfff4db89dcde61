"""Whether a model fits: the arithmetic by hand and by measurement, and suggestions that hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.catalogue import ENTRIES, SHAPES, Shape, lookup
from components.fit import (
    GIB,
    MIB,
    Load,
    Place,
    arithmetic,
    cache_bytes,
    fits,
    graph_bytes,
    need,
    suggestions,
)
from components.instances import INSTANCES
from components.source import Source

L4 = Place(instance_type="g6.2xlarge", gpus=1)
CPU = Place(instance_type="m7i.2xlarge", gpus=0)


def _load(name: str, num_ctx: int, parallel: int = 1, cache_type: str = "f16") -> Load:
    found = lookup(name)
    assert found is not None
    assert found.size_bytes is not None
    return Load(
        weights_bytes=found.size_bytes,
        shape=found.shape,
        num_ctx=num_ctx,
        parallel=parallel,
        cache_type=cache_type,
    )


@pytest.mark.parametrize(
    ("name", "num_ctx", "parallel", "cache_type", "expected"),
    [
        # 2 x 32 layers x 8 heads x 128 x 2 bytes is 128 KiB for each token.
        ("llama3.1:8b", 8192, 1, "f16", 1 * GIB),
        ("llama3.1:8b", 131_072, 1, "f16", 16 * GIB),
        ("llama3.1:8b", 8192, 4, "f16", 4 * GIB),
        ("llama3.1:8b", 8192, 4, "q8_0", 2 * GIB),
        ("llama3.1:8b", 8192, 4, "q4_0", 1 * GIB),
        # 2 x 28 x 4 x 128 x 2 is 56 KiB.
        ("qwen2.5:7b", 16_384, 1, "f16", 896 * MIB),
        # 4 KiB for each token and layer: 5 of 34 layers hold 8192 tokens, 29 hold 1024 and a batch of 512.
        ("gemma3:4b", 8192, 1, "f16", 4096 * (5 * 8192 + 29 * 1536)),
        ("gemma3:4b", 8192, 2, "f16", 4096 * (5 * 16_384 + 29 * 2560)),
    ],
)
def test_the_cache_is_keys_and_values_of_every_token(
    name: str, num_ctx: int, parallel: int, cache_type: str, expected: int
) -> None:
    """Two for each layer, head, dimension, token and slot; a sliding window holds no more than itself."""
    assert cache_bytes(_load(name, num_ctx, parallel, cache_type)) == expected


@pytest.mark.parametrize(
    ("num_ctx", "parallel", "size"),
    [
        (512, 1, 271_232),
        (1024, 1, 336_768),
        (2048, 1, 467_840),
        (512, 4, 467_840),
        (1024, 4, 729_984),
        (2048, 4, 1_254_272),
    ],
)
def test_the_sum_is_what_a_server_measures(num_ctx: int, parallel: int, size: int) -> None:
    """`size` of `/api/ps` of Ollama 0.24.0 for the tests' own tiny model, loaded like this on a CPU.

    205,696 bytes are its weights without the input embeddings, as the server's log has them.
    """
    shape = Shape("llama", 1, 2, 2, 16, 32, 518, 0, Source("cli/tiny_model.py", date(2026, 11, 22)))
    load = Load(weights_bytes=205_696, shape=shape, num_ctx=num_ctx, parallel=parallel)
    assert need(load, CPU).total == size


@pytest.mark.parametrize(
    ("name", "num_ctx", "expected"),
    [
        # 4 x 512 x (1 + 4 x 4096 + 8192 x 33)
        ("llama3.1:8b", 8192, 2048 * (1 + 16_384 + 270_336)),
        # At a short context the logits weigh more: 4 x 512 x (4096 + 128000)
        ("llama3.1:8b", 2048, 2048 * (4096 + 128_000)),
        # 4 x 512 x (1 + 2 x 3584 + 16384 x 29)
        ("qwen2.5:7b", 16_384, 2048 * (1 + 7168 + 475_136)),
        # 4 x 512 x (2 + 8192 x 17 + 2 x 3584 + 2 x 256 x 16) is less than the logits of 256000 tokens.
        ("gemma2:9b", 8192, 2048 * (3584 + 256_000)),
        # A sixth of its cache of 3.75 GiB: each head has its own keys and values.
        ("phi3:3.8b", 10_240, 640 * MIB),
        ("qwen3:8b", 8192, None),
        ("gemma3:4b", 8192, None),
    ],
)
def test_the_graph_is_the_servers_own_estimate(name: str, num_ctx: int, expected: int | None) -> None:
    """By the formulas of `GraphSize`; architectures of the newer engine are measured when they are loaded."""
    assert graph_bytes(_load(name, num_ctx)) == expected


def test_the_error_shows_the_whole_sum() -> None:
    """Each part in GiB, the total, and what there is."""
    assert arithmetic(_load("llama3.1:70b", 8192, 2), L4) == (
        "weights 39.60 + cache of 8192 tokens x 2 slots in f16 5.00 + graph 2.09 + reserve 0.45 = 47.14 GiB, "
        "against 22.35 GiB of 1 x L4 for a pod on g6.2xlarge"
    )
    assert arithmetic(_load("llama3.1:8b", 8192), CPU) == (
        "weights 4.58 + cache of 8192 tokens in f16 1.00 = 5.58 GiB, "
        "against 25.60 GiB of main memory for a pod on m7i.2xlarge"
    )
    assert arithmetic(_load("deepseek-r1:671b", 8192), L4) == (
        "weights 376.25 + reserve 0.45 = 376.70 GiB, against 22.35 GiB of 1 x L4 for a pod on g6.2xlarge"
    )


def test_every_gpu_has_a_graph_and_a_reserve_of_its_own() -> None:
    """Weights and cache are shared out, the rest is paid once for each."""
    load = _load("llama3.1:8b", 8192)
    graph = graph_bytes(load) or 0
    four = need(load, Place(instance_type="g6.12xlarge", gpus=4))
    assert (four.cache, four.graph, four.reserved) == (GIB, 4 * graph, 4 * 457 * MIB)
    assert need(replace(load, gpu_overhead_bytes=GIB), L4).reserved == 457 * MIB + GIB


@pytest.mark.parametrize(
    ("name", "num_ctx", "parallel", "place", "expected"),
    [
        ("llama3.1:8b", 8192, 1, L4, ()),
        ("llama3.1:70b", 8192, 1, L4, ("`instanceType: g6e.xlarge`",)),
        ("llama3.1:405b", 8192, 1, L4, ("`instanceType: p4d.24xlarge` with `gpuCount: 8`",)),
        (
            "qwen2.5:32b",
            32_768,
            1,
            L4,
            ("`options.num_ctx: 8192`", "`instanceType: g6e.xlarge`"),
        ),
        (
            "llama3.1:8b-instruct-q8_0",
            32_768,
            4,
            L4,
            (
                "`options.num_ctx: 16384`",
                "`parallel: 2`",
                "`server: {flashAttention: true, kvCacheType: q4_0}`",
                "`instanceType: g6e.xlarge`",
            ),
        ),
        # Its cache cannot be quantised: the server has no flash attention for it.
        ("gemma2:27b", 32_768, 1, L4, ("`options.num_ctx: 16384`", "`instanceType: g6e.xlarge`")),
        (
            "llama3.1:70b",
            8192,
            1,
            Place(instance_type="g6.12xlarge", gpus=1),
            ("`gpuCount: 3`", "`instanceType: g6e.xlarge`"),
        ),
        (
            "llama3.1:8b",
            8192,
            1,
            Place(instance_type="m7i.xlarge", gpus=0, memory_mib=4096),
            ("`memory: 5717Mi`",),
        ),
        (
            "llama3.1:70b",
            8192,
            1,
            Place(instance_type="m7i.xlarge", gpus=0, memory_mib=4096),
            ("`instanceType: m7i.4xlarge` and no `memory`",),
        ),
        (
            "llama3.1:8b-instruct-q8_0",
            8192,
            1,
            Place(instance_type="m7i.large", gpus=0),
            ("`from: llama3.1:8b`", "`instanceType: m7i.xlarge`"),
        ),
    ],
)
def test_what_would_fit_is_found_by_trying(
    name: str, num_ctx: int, parallel: int, place: Place, expected: tuple[str, ...]
) -> None:
    """The nearest of each kind: less context, fewer slots, other weights, the next instance type."""
    load = _load(name, num_ctx, parallel)
    assert fits(load, place) is (expected == ())
    if expected:
        assert suggestions(load, place, lookup(name)) == expected


SIZED = sorted(
    f"{name}:{tag}" for name, entry in ENTRIES.items() for tag, file in entry.tags.items() if file.shape
)
PLACES = st.sampled_from(
    [
        Place(instance_type=name, gpus=gpus)
        for name, each in INSTANCES.items()
        for gpus in {each.gpus, min(1, each.gpus)}
    ]
)
LOADS = st.builds(
    _load,
    st.sampled_from(SIZED),
    st.integers(128, 200_000),
    st.integers(1, 64),
    st.sampled_from(["f16", "q8_0", "q4_0"]),
)


@given(LOADS, PLACES, st.integers(0, 100_000), st.integers(0, 8))
def test_more_never_fits_better(load: Load, place: Place, tokens: int, slots: int) -> None:
    """More context or more slots need at least as much, of every part."""
    more = need(replace(load, num_ctx=load.num_ctx + tokens, parallel=load.parallel + slots), place)
    less = need(load, place)
    assert all((a or 0) <= (b or 0) for a, b in zip(less, more, strict=True))


@given(LOADS, PLACES)
def test_a_model_that_fits_one_gpu_fits_several(load: Load, place: Place) -> None:
    """What each GPU keeps for itself never outweighs what it brings."""
    if place.gpus and fits(load, replace(place, gpus=1)):
        assert fits(load, replace(place, gpus=place.instance.gpus))


@given(LOADS, PLACES)
def test_a_suggestion_is_one_that_fits(load: Load, place: Place) -> None:
    """Whatever is suggested is tried here once more, by what its text says."""
    if fits(load, place):
        return
    for text in suggestions(load, place):
        words = text.replace("`", "").replace("}", "").split()
        change, value = words[0], words[-1]
        match change:
            case "options.num_ctx:":
                assert fits(replace(load, num_ctx=int(value)), place)
            case "parallel:":
                assert fits(replace(load, parallel=int(value)), place)
            case "server:":
                assert fits(replace(load, cache_type=value), place)
            case "instanceType:":
                gpus = int(value) if "with" in words else place.gpus
                assert fits(load, Place(instance_type=words[1], gpus=gpus))
            case _:
                assert change == "gpuCount:"
                assert fits(load, replace(place, gpus=int(value)))


def test_without_a_shape_the_weights_alone_are_held_against_the_place() -> None:
    """What is unknown is no reason to refuse."""
    load = Load(weights_bytes=22 * GIB, shape=None, num_ctx=10**6, parallel=64)
    assert need(load, L4) == (22 * GIB, None, None, 457 * MIB)
    assert not fits(load, L4)
    assert fits(replace(load, weights_bytes=21 * GIB), L4)
    assert set(SHAPES) > {"llama3.2:3b"}
