"""What all models of a stack stand on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.addons import Addons
    from components.cluster import Cluster
    from components.documents import Documents
    from components.model_store import ModelStore
    from components.namespaces import Namespaces
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """The parts that exist once, however many models there are."""

    stack: Stack
    cluster: Cluster
    namespaces: Namespaces
    store: ModelStore
    documents: Documents
    addons: Addons
