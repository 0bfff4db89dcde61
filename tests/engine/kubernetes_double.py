# pyright: basic
# ruff: noqa: ANN001, D102
# As in doubles.py.
"""The double of the Kubernetes provider: names before it creates, and fields that others own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.engine import schemas
from tests.engine.doubles import Provider, plain

if TYPE_CHECKING:
    from tests.engine.cloud import Thing

REPLACE_UNREADY = "pulumi.com/replaceUnready"
AUTONAMED = "pulumi.com/autonamed"


class Kubernetes(Provider):
    """What the Kubernetes provider does otherwise: names before it creates, and fields that others own."""

    def named(self, request, inputs: dict[str, Any]) -> dict[str, Any]:
        if "metadata" not in schemas.outputs(request.type) or "name" in (metadata := _metadata(inputs)):
            return inputs
        # For a replacement the engine gives no earlier inputs.
        earlier = _metadata(plain(request.olds)).get("name")
        name = earlier or f"{request.name}-{request.randomSeed.hex()[:8]}"
        annotations = _annotations(inputs) | {AUTONAMED: "true"}
        return inputs | {"metadata": {**metadata, "name": name, "annotations": annotations}}

    def replaced_anyway(self, identity: str, inputs: dict[str, Any]) -> list[str]:
        asked = _annotations(inputs).get(REPLACE_UNREADY) == "true"
        unready = asked and self.cloud.things[identity].unready
        return [f"metadata.annotations[{json.dumps(REPLACE_UNREADY)}]"] if unready else []

    def needs_its_name(self, old: dict[str, Any], new: dict[str, Any]) -> bool:
        before, after = _metadata(old), _metadata(new)
        same = all(before.get(key) == after.get(key) for key in ("namespace", "name"))
        return same and AUTONAMED not in _annotations(new)

    def sent(self, thing: Thing, inputs: dict[str, Any], ignored) -> dict[str, Any]:
        # Server-side apply leaves out what is ignored: seen with the real provider, replicas stay.
        for path in ignored:
            *parents, last = path.split(".")
            here, live = inputs, thing.properties
            for key in parents:
                here, live = here.get(key, {}), live.get(key, {})
            if last in live:
                here[last] = live[last]
        return inputs


def _metadata(inputs: dict[str, Any]) -> dict[str, Any]:
    """An object's metadata, as far as they are known."""
    metadata = inputs.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _annotations(inputs: dict[str, Any]) -> dict[str, Any]:
    return _metadata(inputs).get("annotations") or {}
