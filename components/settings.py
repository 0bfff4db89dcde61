"""Stack config, parsed once into frozen values; every problem is reported together, before any resource.

A key is accepted only once something honours it. Defaults live here and nowhere else: `Pulumi.yaml` declares
types only, because mocks do not see its defaults.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from components import fit, suitability
from components.instances import INSTANCES, Instance, unusable
from components.model_section import Model
from components.problems import SettingsError, describe, did_you_mean
from components.sections import Api, Network, Scaling, Setting
from components.versions import KUBERNETES, KUBERNETES_SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Mapping

SPOT_NOTICE_SECONDS = 120
"""From a Spot notice to the end of the instance (EC2 user guide, "Spot Instance interruption notices")."""

SPOT_MARGIN_SECONDS = 20
"""Of it, what EKS takes until the pods are told."""


class Settings(Setting):
    """The whole of a stack's config."""

    image: str = Field(min_length=1)
    instance_type: str = "g6.2xlarge"
    gpu_count: int = Field(default=1, ge=0, validate_default=True)
    max_instances: int = Field(default=5, ge=0, le=1000)
    capacity_type: Literal["on-demand", "spot"] = "on-demand"
    network: Network = Network()
    scaling: Scaling = Scaling()
    api: Api = Api()
    kubernetes_version: str = KUBERNETES
    protect: bool = True
    models: tuple[Model, ...]

    @field_validator("api", mode="before")
    @classmethod
    def _private(cls, api: object) -> object:
        if api == "private":
            return Api()
        if not isinstance(api, dict) or not api or api == {"publicCidrs": []}:
            raise ValueError("must be private, or {publicCidrs: [...]} with the networks that may reach it")
        return api  # pyright: ignore[reportUnknownVariableType]  a stack file's own value

    @field_validator("models", mode="before")
    @classmethod
    def _some(cls, models: object) -> object:
        if not models:
            raise ValueError("must list at least one model")
        return models

    @field_validator("instance_type")
    @classmethod
    def _known_instance(cls, name: str) -> str:
        if name not in INSTANCES:
            if unusable(name):
                raise ValueError(unusable(name))
            raise ValueError(f"is not a type that this program knows{did_you_mean(name, list(INSTANCES))}")
        return name

    @field_validator("gpu_count")
    @classmethod
    def _fits_instance(cls, count: int, info: ValidationInfo) -> int:
        name = info.data.get("instance_type")
        if name is None:
            return count
        gpus = INSTANCES[name].gpus
        if count > gpus:
            raise ValueError(f"is more than the {gpus} GPU(s) of {name}")
        if count == 0 and gpus:
            raise ValueError(f"would leave the GPU of {name} unused; choose a CPU type such as m7i.2xlarge")
        return count

    @field_validator("models")
    @classmethod
    def _suit(cls, models: tuple[Model, ...], info: ValidationInfo) -> tuple[Model, ...]:
        name, gpus = info.data.get("instance_type"), info.data.get("gpu_count")
        place = None if name is None or gpus is None else fit.Place(instance_type=name, gpus=gpus)
        completed = tuple(suitability.completed(model) for model in models)
        errors = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{reason}", {"reason": problem.reason}),
                loc=(number, *problem.key),
                input=problem.given,
            )
            for number, model in enumerate(completed)
            for problem in suitability.problems(model, place)
        ]
        if errors:
            raise ValidationError.from_exception_data("models", errors)
        return completed

    @field_validator("kubernetes_version")
    @classmethod
    def _supported(cls, version: str) -> str:
        if version not in KUBERNETES_SUPPORTED:
            raise ValueError(f"must be one of {', '.join(KUBERNETES_SUPPORTED)}")
        return version

    @property
    def instance(self) -> Instance:
        """What the instance type offers."""
        return INSTANCES[self.instance_type]

    @property
    def pods_per_node(self) -> int:
        """Model pods that one node holds: its GPUs decide, or its memory alone where there are none."""
        return fit.pods_per_node(self.instance, self.gpu_count)

    @property
    def pod_memory_mib(self) -> int:
        """A model server's share of its node's memory, MiB."""
        return fit.pod_memory_mib(self.instance, self.gpu_count)

    @property
    def max_nodes(self) -> int:
        """Nodes that all models together can fill; at least 1, which is the least that EKS takes."""
        pods = sum(self.instances_of(model) for model in self.models)
        return max(1, -(-pods // self.pods_per_node))

    def instances_of(self, model: Model) -> int:
        """Pods that a model may have at once; 0 pauses it."""
        return self.max_instances if model.max_instances is None else model.max_instances

    def memory_mib_of(self, model: Model) -> int:
        """Main memory of a model's server, MiB: what it asks for, or its share of the node."""
        return model.memory or self.pod_memory_mib

    def grace_seconds_of(self, model: Model) -> int:
        """What a model's pods get between SIGTERM and SIGKILL.

        EKS drains a Spot node when its notice comes: a pod is told by SIGTERM, and soon after it is gone.
        """
        if self.capacity_type == "spot":
            return min(model.grace_seconds, SPOT_NOTICE_SECONDS - SPOT_MARGIN_SECONDS)
        return model.grace_seconds


def parse(config: Mapping[str, object]) -> Settings:
    """Reads a stack's config, keys without their project prefix.

    Raises:
        SettingsError: with every problem: its path, the value given, and what would be right.
    """
    try:
        return Settings.model_validate(dict(config), context={"names": _names(config)})
    except ValidationError as error:
        raise SettingsError(describe(error, Settings)) from None


def _names(config: Mapping[str, object]) -> Counter[str]:
    models: Any = config.get("models")
    return Counter(
        str(cast("dict[str, Any]", model).get("name"))
        for model in (cast("list[Any]", models) if isinstance(models, list) else [])
        if isinstance(model, dict)
    )
