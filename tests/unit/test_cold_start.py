"""The estimate of a cold start, and the warning that a cool-down is under it."""

from __future__ import annotations

import pytest

from components.cold_start import warnings
from components.settings import parse

GPU = (
    "(KEDA's poll 10 + the autoscaler's scan 10 + its wait for more pods with GPUs 30 + the node 40 "
    "+ its GPUs 36 + the image 121 + the weights 18)"
)
CPU = "(KEDA's poll 3 + the autoscaler's scan 10 + the node 40 + the image 121 + the weights 18)"


def _said(place: str, given: int, estimate: int, arithmetic: str) -> str:
    return (
        f"{place}: given {given}: is under the {estimate} s that a cold start is estimated to take "
        f"{arithmetic}: pods go sooner than they come back; use at least {estimate}"
    )


def _warnings(*models: dict[str, object], **stack: object) -> tuple[str, ...]:
    named = [{"name": f"m{at}", "from": "tiny", **model} for at, model in enumerate(models)]
    return warnings(parse({"image": "i:1", "models": named, **stack}))


def test_the_default_is_long_enough() -> None:
    """And the estimate itself is."""
    assert _warnings({}, {"scaling": {"cooldownSeconds": 265}}) == ()


def test_a_stacks_own_is_said_once() -> None:
    """At the key that is to be changed, however many models follow it."""
    assert _warnings({}, {}, scaling={"cooldownSeconds": 264}) == (
        _said("scaling.cooldownSeconds", 264, 265, GPU),
    )


def test_a_models_own_is_said_of_the_model() -> None:
    """With the steps of its own cold start: on CPUs nobody waits for GPUs."""
    model = {
        "instanceType": "m7i.xlarge",
        "gpuCount": 0,
        "scaling": {"cooldownSeconds": 0, "pollSeconds": 3},
    }
    assert _warnings({}, model) == (_said("models[1].scaling.cooldownSeconds", 0, 192, CPU),)


@pytest.mark.parametrize("model", [{"minInstances": 1}, {"maxInstances": 0}])
def test_a_model_that_never_falls_asleep_has_none(model: dict[str, object]) -> None:
    """It has no cool-down that anybody waits for."""
    assert _warnings(model, scaling={"cooldownSeconds": 0}) == ()
