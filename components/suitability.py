"""What is known of a stack's models and instances, held against what the stack asks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from components import catalogue, fit
from components.catalogue import K
from components.fit import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.catalogue import Known
    from components.model_section import Model

IMAGES = "image/"


class Problem(NamedTuple):
    """One thing that a model cannot be asked: where in its config, what was given, why not."""

    key: tuple[str | int, ...]
    given: object
    reason: str


def completed(model: Model) -> Model:
    """The model with what follows from its source wherever its config says nothing.

    Text alone for a model that does not see, and no more context than a model was trained on: the server
    would cut it without a word, and the worker would reckon with tokens that are not there.
    """
    known = catalogue.known(model.spec.source)
    if known is None:
        return model
    changes: dict[str, object] = {}
    if "accepts" not in model.model_fields_set and not (known.sees and model.task == "generate"):
        changes["accepts"] = tuple(kind for kind in model.accepts if not kind.startswith(IMAGES))
    if "num_ctx" not in model.options.model_fields_set and _is_beyond(model, known):
        trained = (known.context_k or 0) * K
        changes["options"] = model.options.model_copy(update={"num_ctx": trained})
    return model.model_copy(update=changes) if changes else model


def place_of(model: Model, stack: Place) -> Place:
    """Where a model's pods run: on what it names itself, and for the rest on what the stack does."""
    return Place(
        instance_type=model.instance_type or stack.instance_type,
        gpus=stack.gpus if model.gpu_count is None else model.gpu_count,
        memory_mib=model.memory,
    )


def problems(model: Model, stack: Place | None, max_instances: int | None) -> Iterator[Problem]:
    """All that a model is known not to do, and whether it is known not to fit where it is to run.

    Args:
        model: what is asked of it.
        stack: where a model runs that says nothing else; None where the stack's own config is wrong.
        max_instances: pods of a model that says nothing else; None likewise.
    """
    known = catalogue.known(model.spec.source)
    if known is not None:
        yield from _unable(model, known)
    ceiling = max_instances if model.max_instances is None else model.max_instances
    # A paused model keeps the rest of its config, for the day when it is needed again.
    if ceiling:
        yield from _over(model, ceiling)
    if stack is None:
        return
    place = place_of(model, stack)
    misfit = fit.misfit(place)
    if misfit:
        yield _misplaced(model, place, misfit)
        return
    node, share = place.instance.memory_mib, fit.pod_memory_mib(place.instance, place.gpus)
    if model.memory is not None and model.memory > share:
        yield Problem(
            ("memory",),
            f"{model.memory}Mi",
            f"is more than a pod's {share} MiB: {fit.NODE_MEMORY_SHARE} of {node} on {place.instance_type}, "
            f"for {fit.pods_per_node(place.instance, place.gpus)} pod(s)",
        )
    yield from _too_big(model, known, place)


def _over(model: Model, ceiling: int) -> Iterator[Problem]:
    asked: list[tuple[tuple[str | int, ...], int]] = [(("minInstances",), model.min_instances)]
    asked += [(("schedule", at, "instances"), window.instances) for at, window in enumerate(model.schedule)]
    for key, instances in asked:
        if instances > ceiling:
            yield Problem(key, instances, f"is over maxInstances ({ceiling}); ask for fewer, or raise that")


def _misplaced(model: Model, place: Place, misfit: str) -> Problem:
    if model.gpu_count is not None:
        return Problem(("gpuCount",), model.gpu_count, misfit)
    reason = f"needs a `gpuCount` of the model's own: the stack's {place.gpus} {misfit}"
    return Problem(("instanceType",), model.instance_type, reason)


def load(model: Model, known: Known | None) -> fit.Load | None:
    """What the model's server is to hold; None where nobody knows how big the model is."""
    if known is None or known.size_bytes is None:
        return None
    return fit.Load(
        weights_bytes=known.size_bytes,
        shape=known.shape,
        num_ctx=model.options.num_ctx,
        parallel=model.parallel,
        cache_type=model.server.kv_cache_type or "f16",
        batch=min(model.options.num_batch or fit.BATCH, model.options.num_ctx),
        gpu_overhead_bytes=model.server.gpu_overhead or 0,
    )


def verdict(model: Model, place: Place) -> str:
    """One line for a plan: the sum where it is known, else what is unknown."""
    known = catalogue.known(model.spec.source)
    asked = load(model, known)
    if asked is None:
        return "unknown: no source gives the size of its weights"
    unknown = "" if asked.shape else "; its cache is unknown: no source gives its shape"
    return f"{fit.arithmetic(asked, place)}{unknown}"


def _is_beyond(model: Model, known: Known) -> bool:
    # The library cuts to whole K, so a little more may be true.
    return known.context_k is not None and model.options.num_ctx >= (known.context_k + 1) * K


def _source(model: Model) -> tuple[tuple[str, ...], object]:
    """The key that says what the model is, and its value."""
    return (("from",), model.from_) if model.from_ is not None else (("modelfile",), model.modelfile)


def _unable(model: Model, known: Known) -> Iterator[Problem]:
    name = known.name
    if known.hosted:
        yield Problem(*_source(model), f"{name} has no files: its vendor alone serves it")
    images = [kind for kind in model.accepts if kind.startswith(IMAGES)]
    if images and not known.sees:
        yield Problem(
            ("accepts",),
            model.accepts,
            f"{name} does not see; leave out {' and '.join(images)}, or use a vision model",
        )
    if known.embeds and model.task == "generate":
        yield Problem(
            ("task",), model.task, f"{name} gives vectors alone; use `task: embed`, or another model"
        )
    if not known.embeds and model.task == "embed":
        yield Problem(
            ("task",), model.task, f"{name} is no embedding model; use one, such as nomic-embed-text"
        )
    if known.single is not None and model.parallel > 1:
        yield Problem(
            ("parallel",),
            model.parallel,
            f"the server takes the requests of {known.single} models one by one, whatever is asked; "
            "use 1, and more `maxInstances`",
        )
    if _is_beyond(model, known):
        yield Problem(
            ("options", "num_ctx"),
            model.options.num_ctx,
            f"{name} was trained on {known.context_k}K tokens, and the server cuts the rest without a word; "
            f"use at most {(known.context_k or 0) * K}",
        )


def _too_big(model: Model, known: Known | None, place: Place) -> Iterator[Problem]:
    asked = load(model, known)
    # Layers that are left in main memory on purpose are the user's own arithmetic.
    if asked is None or known is None or model.options.num_gpu is not None or fit.fits(asked, place):
        return
    ways = fit.suggestions(asked, place, known)
    remedy = f"; use {', or '.join(ways)}" if ways else "; no known instance type has as much"
    yield Problem(*_source(model), f"does not fit: {fit.arithmetic(asked, place)}{remedy}")
