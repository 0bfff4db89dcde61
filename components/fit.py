"""Whether a model fits where it is to run, before anything is deployed: arithmetic in bytes, all of it pure.

Counted is what the pinned server counts before it places a model (Ollama 0.24.0: fs/ggml/ggml.go GraphSize,
llm/server.go, ml/device.go), but that its weights are the whole file here, and that what has no sourced
figure is left out: a model that is said to fit may still be tight. Main memory decides where there is no GPU;
with one, a model only passes through it, in pages that can be dropped. The disk is not asked: models lie on
EFS, which has no size, and the store says itself what it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from components.instances import INSTANCES, Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.catalogue import Known, Shape

MIB, GIB = 2**20, 2**30

RESERVED_BYTES = 457 * MIB
"""Of each GPU, for the driver's own structures (ml/device.go, MinimumMemory)."""

BATCH = 512
"""Tokens that the model reads at once (api/types.go, DefaultOptions)."""

ELEMENT_BYTES = {"f16": 2.0, "q8_0": 1.0, "q4_0": 0.5}
"""Of the cache, by its type, as the server reckons (ggml.go, kvCacheBytesPerElement)."""

GLOBAL_LAYER_EVERY = 6
"""With a sliding window, each sixth layer looks back over the whole context (ggml.go, gemma3)."""

SMALLEST_CONTEXT = 2048
"""Tokens below which no context is suggested: there is no room for a document and its answer."""

NODE_MEMORY_SHARE = 0.8
"""Of a node's memory, what model servers may ask for; the rest is the system's and the workers'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a model's server is to hold at once."""

    weights_bytes: int
    shape: Shape | None
    num_ctx: int
    parallel: int = 1
    cache_type: str = "f16"
    batch: int = BATCH
    gpu_overhead_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one pod runs; memory is its own where it asks for another amount than its share of the node."""

    instance_type: str
    gpus: int
    memory_mib: int | None = None

    @property
    def instance(self) -> Instance:
        """What the type offers."""
        return INSTANCES[self.instance_type]

    @property
    def pod_memory_mib(self) -> int:
        """What the server may use of main memory."""
        return self.memory_mib or pod_memory_mib(self.instance, self.gpus)

    @property
    def room_bytes(self) -> int:
        """What a model has to fit into: the pod's GPUs, or its main memory where it has none."""
        return (self.gpus * self.instance.gpu_memory_mib if self.gpus else self.pod_memory_mib) * MIB


class Need(NamedTuple):
    """Bytes by what they are for; a cache or a graph that nobody can reckon is None."""

    weights: int
    cache: int | None
    graph: int | None
    reserved: int

    @property
    def total(self) -> int:
        """All that is known to be needed."""
        return self.weights + (self.cache or 0) + (self.graph or 0) + self.reserved


def pods_per_node(instance: Instance, gpus: int) -> int:
    """Model pods that one node holds: its GPUs decide, or its memory alone where there are none."""
    return instance.gpus // gpus if gpus else 1


def pod_memory_mib(instance: Instance, gpus: int) -> int:
    """A model server's share of its node's main memory, MiB."""
    return int(instance.memory_mib * NODE_MEMORY_SHARE / pods_per_node(instance, gpus))


def misfit(place: Place) -> str:
    """Why no pod can have so many GPUs on such an instance; nothing where one can."""
    name, has = place.instance_type, place.instance.gpus
    if place.gpus > has:
        return f"is more than the {has} GPU(s) of {name}"
    if has and not place.gpus:
        return f"would leave the GPU of {name} unused; choose a CPU type such as m7i.2xlarge"
    return ""


def cache_bytes(load: Load) -> int | None:
    """Keys and values of all tokens that can be in hand; None where the shape is unknown."""
    shape = load.shape
    if shape is None:
        return None
    token = 2 * shape.kv_heads * shape.head_dim * ELEMENT_BYTES[load.cache_type]
    windowed = shape.layers - shape.layers // GLOBAL_LAYER_EVERY if shape.window else 0
    everywhere = int(load.num_ctx * load.parallel * token) * (shape.layers - windowed)
    return everywhere + int((load.parallel * shape.window + load.batch) * token) * windowed


def graph_bytes(load: Load) -> int | None:
    """What the server sets aside on each GPU to compute in; None for architectures that it has to try out."""
    shape, tokens, cells = load.shape, load.num_ctx * load.parallel, 4 * load.batch
    if shape is None:
        return None
    attention, logits = tokens * (1 + shape.heads), cells * (shape.width + shape.vocabulary)
    size: int | None
    match shape.architecture:
        case "llama" | "phi2":
            size = max(cells * (1 + 4 * shape.width + attention), logits)
        case "gemma" | "gemma2":
            size = max(cells * (2 + attention + 2 * (shape.width + shape.head_dim * shape.heads)), logits)
        case "qwen2":
            size = max(cells * (1 + 2 * shape.width + attention), logits)
        case "stablelm":
            size = cells * (2 + 3 * shape.width + attention)
        case "falcon" | "olmo2" | "phi3":
            size = shape.heads // shape.kv_heads * (cache_bytes(load) or 0) // 6
        case _:
            size = None
    return size


def need(load: Load, place: Place) -> Need:
    """What a load needs there, by what it is for; on GPUs each has its own graph and reserve."""
    graph = graph_bytes(load) if place.gpus else None
    return Need(
        weights=load.weights_bytes,
        cache=cache_bytes(load),
        graph=None if graph is None else graph * place.gpus,
        reserved=(RESERVED_BYTES + load.gpu_overhead_bytes) * place.gpus,
    )


def fits(load: Load, place: Place) -> bool:
    """Whether nothing that is known speaks against it."""
    return need(load, place).total <= place.room_bytes


def arithmetic(load: Load, place: Place) -> str:
    """The sum in GiB, and what it is held against."""
    parts = need(load, place)
    slots = f" x {load.parallel} slots" if load.parallel > 1 else ""
    known = (
        ("weights", parts.weights),
        (f"cache of {load.num_ctx} tokens{slots} in {load.cache_type}", parts.cache),
        ("graph", parts.graph),
        ("reserve", parts.reserved),
    )
    total = " + ".join(f"{name} {gib(size)}" for name, size in known if size)
    holder = f"{place.gpus} x {place.instance.gpu}" if place.gpus else "main memory"
    return (
        f"{total} = {gib(parts.total)} GiB, against {gib(place.room_bytes)} GiB of {holder} for a pod on "
        f"{place.instance_type}"
    )


def gib(size: int) -> str:
    """GiB with two digits behind the point."""
    return f"{size / GIB:.2f}"


def suggestions(load: Load, place: Place, known: Known | None = None) -> tuple[str, ...]:
    """Changes of which each alone makes the model fit: found by trying, the nearest of its kind each.

    Less context (a power of two), fewer slots, the biggest smaller file of the same model and size, a cache
    in fewer bits, the next instance type.
    """
    return tuple(
        text
        for found in (_fewer(load, place), _smaller_file(load, place, known), _next(load, place))
        for text in found
    )


def _fewer(load: Load, place: Place) -> Iterator[str]:
    powers = (2**n for n in range(load.num_ctx.bit_length(), 0, -1))
    contexts = (tokens for tokens in powers if SMALLEST_CONTEXT <= tokens < load.num_ctx)
    for tokens in contexts:
        if fits(replace(load, num_ctx=tokens), place):
            yield f"`options.num_ctx: {tokens}`"
            break
    for slots in range(load.parallel - 1, 0, -1):
        if fits(replace(load, parallel=slots), place):
            yield f"`parallel: {slots}`"
            break
    for kind in ("q8_0", "q4_0"):
        if _has_flash_attention(load) and fits(replace(load, cache_type=kind), place):
            yield f"`server: {{flashAttention: true, kvCacheType: {kind}}}`"
            break


def _has_flash_attention(load: Load) -> bool:
    """Whether the cache can be quantised (ggml.go, SupportsFlashAttention)."""
    return load.shape is not None and load.shape.architecture != "gemma2"


def _smaller_file(load: Load, place: Place, known: Known | None) -> Iterator[str]:
    if known is None:
        return
    size = known.name.partition(":")[2].partition("-")[0]
    files = [
        (file.size_bytes, -len(tag), tag)
        for tag, file in known.entry.tags.items()
        if tag.partition("-")[0] == size and file.size_bytes < load.weights_bytes
    ]
    for weights, _, tag in sorted(files, reverse=True):
        if fits(replace(load, weights_bytes=weights), place):
            yield f"`from: {known.entry.name}:{tag}`"
            break


def _next(load: Load, place: Place) -> Iterator[str]:
    """More of the same node, then the type with the least GPU or main memory that is enough."""
    for gpus in range(place.gpus + 1, place.instance.gpus + 1):
        if fits(load, replace(place, gpus=gpus)):
            yield f"`gpuCount: {gpus}`"
            break
    if not place.gpus and place.memory_mib and fits(load, replace(place, memory_mib=None)):
        yield f"`memory: {-(-need(load, place).total // MIB)}Mi`"
        return
    for gpus, name in sorted(_bigger(place), key=lambda way: _rank(*way)):
        if fits(load, Place(instance_type=name, gpus=gpus)):
            count = f" with `gpuCount: {gpus}`" if gpus != place.gpus else ""
            yield f"`instanceType: {name}`{count}" + (" and no `memory`" if place.memory_mib else "")
            break


def _bigger(place: Place) -> Iterator[tuple[int, str]]:
    for name, instance in INSTANCES.items():
        counts = {place.gpus, instance.gpus} if place.gpus else {0}
        for gpus in counts:
            same_kind = bool(instance.gpus) == bool(place.gpus)
            if same_kind and name != place.instance_type and place.gpus <= gpus <= instance.gpus:
                yield gpus, name


def _rank(gpus: int, name: str) -> tuple[int, ...]:
    instance = INSTANCES[name]
    return (instance.gpus * instance.gpu_memory_mib, instance.memory_mib, instance.vcpus, gpus)
