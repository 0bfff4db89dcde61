"""Names that another system refers to as text, and the rules that they follow. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pulumi
    from pulumi_kubernetes.meta import v1 as meta

SERVING_NAMESPACE = "ollama"
"""Model pods: they read documents and hold a read-only claim on the models."""

JOBS_NAMESPACE = "ollama-models"
"""Jobs that fill the model store: the only holders of a claim that can write."""

POOL_LABEL = "ollama-eks/pool"
"""The node label, and the taint key, that tell the pools apart: model nodes by their instance type."""

SYSTEM_POOL = "system"
"""Of the nodes that are always on; they have no taint."""


def model_job(model: str, model_hash: str, *parts: str) -> str:
    """A model Job's name: new whenever the model, the Job's own template or the file system is another.

    Args:
        model: the model's name in the stack, at most 40 characters.
        model_hash: `ModelSpec.hash`.
        parts: whatever else makes it another Job: its pod template, the file system's id.

    Returns:
        At most 62 characters; Kubernetes allows 63, since the name becomes a pod label.
    """
    rest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{model}-{model_hash[:12]}-{rest[:8]}"


def name_of(metadata: pulumi.Output[meta.outputs.ObjectMeta]) -> pulumi.Output[str]:
    """A Kubernetes object's name, the provider's own where the program gives none."""
    return metadata.apply(lambda found: str(found.name))
