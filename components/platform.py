"""What all models of a stack stand on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.documents import Documents
    from components.image import Image
    from components.keda import Keda
    from components.model_store import ModelStore
    from components.namespaces import Namespaces
    from components.pod_rules import PodRules
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """The parts that exist once, however many models there are."""

    stack: Stack
    image: Image
    cluster: Cluster
    namespaces: Namespaces
    store: ModelStore
    documents: Documents
    keda: Keda
    pod_rules: PodRules
