"""Stack config, parsed once into frozen values; every problem is reported together, before any resource.

A key is accepted only once something honours it. Defaults live here and nowhere else: `Pulumi.yaml` declares
types only, because mocks do not see its defaults.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from components import edges, endpoints, suitability
from components.encryption_key import EncryptionKey
from components.fit import Place, misfit
from components.image_inputs import BUILD, build_or_reference
from components.instances import known_type
from components.model_section import Model
from components.pools import Pool, pools
from components.problems import SettingsError, describe
from components.sections import Alerts, Api, Network, Principals, RetentionDays, Scaling, Setting
from components.versions import KUBERNETES, KUBERNETES_SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MODELS = 50
"""An IAM policy of 6,144 characters names the dead letters of so many models, whatever they are called."""

SPOT_NOTICE_SECONDS = 120
"""From a Spot notice to the end of the instance (EC2 user guide, "Spot Instance interruption notices")."""

SPOT_MARGIN_SECONDS = 20
"""Of it, what EKS takes until the pods are told."""


class Settings(Setting):
    """The whole of a stack's config."""

    image: Annotated[str, AfterValidator(build_or_reference)] = BUILD
    mirror: bool = False
    instance_type: Annotated[str, AfterValidator(known_type)] = "g6.2xlarge"
    gpu_count: int = Field(default=1, ge=0, validate_default=True)
    max_instances: int = Field(default=5, ge=0, le=1000)
    capacity_type: Literal["on-demand", "spot"] = "on-demand"
    network: Network = Network()
    scaling: Scaling = Scaling()
    api: Api = Api()
    kubernetes_version: str = KUBERNETES
    admins: Principals = ()
    protect: bool = True
    collect_models: bool = True
    encryption_key: EncryptionKey | None = None
    expire_days: int | None = Field(default=None, ge=1)
    log_retention_days: RetentionDays = 30
    alerts: Alerts | None = None
    models: tuple[Model, ...]

    @field_validator("api", mode="before")
    @classmethod
    def _private(cls, api: object) -> object:
        if api == "private":
            return Api()
        if not isinstance(api, dict) or not api or api == {"publicCidrs": []}:
            raise ValueError("must be private, or {publicCidrs: [...]} with the networks that may reach it")
        return api  # pyright: ignore[reportUnknownVariableType]  a stack file's own value

    @field_validator("network")
    @classmethod
    def _has_its_images(cls, network: Network, info: ValidationInfo) -> Network:
        if network.egress == "endpoints" and info.data.get("mirror") is False:
            raise ValueError(
                "`egress: endpoints` reaches no public registry; set `mirror: true` (docs/mirror.md)"
            )
        return network

    @field_validator("models", mode="before")
    @classmethod
    def _some(cls, models: object) -> object:
        if not models:
            raise ValueError("must list at least one model")
        return models

    @field_validator("gpu_count")
    @classmethod
    def _fits_instance(cls, count: int, info: ValidationInfo) -> int:
        name = info.data.get("instance_type")
        if name is None:
            return count
        reason = misfit(Place(instance_type=name, gpus=count))
        if reason:
            raise ValueError(reason)
        return count

    @field_validator("models")
    @classmethod
    def _suit(cls, models: tuple[Model, ...], info: ValidationInfo) -> tuple[Model, ...]:
        if len(models) > MAX_MODELS:
            raise ValueError(
                f"lists {len(models)} models; {MAX_MODELS} are the most of one stack, so make another"
            )
        name, gpus = info.data.get("instance_type"), info.data.get("gpu_count")
        place = None if name is None or gpus is None else Place(instance_type=name, gpus=gpus)
        completed = tuple(suitability.completed(model) for model in models)
        errors = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{reason}", {"reason": problem.reason}),
                loc=(number, *problem.key),
                input=problem.given,
            )
            for number, model in enumerate(completed)
            for problem in (
                *suitability.problems(model, place, info.data.get("max_instances")),
                *edges.problems(model, completed),
                *endpoints.problems(model, info.data.get("network")),
            )
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
    def pools(self) -> tuple[Pool, ...]:
        """The pools of nodes that the models run on."""
        return pools((self.place_of(model), self.instances_of(model)) for model in self.models)

    def instances_of(self, model: Model) -> int:
        """Pods that a model may have at once; 0 pauses it."""
        return self.max_instances if model.max_instances is None else model.max_instances

    def scaling_of(self, model: Model) -> Scaling:
        """How a model's pods follow its queue: as it says itself, and for the rest as the stack does."""
        return self.scaling.model_copy(update=model.scaling.model_dump(exclude_none=True))

    def place_of(self, model: Model) -> Place:
        """Where a model's pods run."""
        return suitability.place_of(model, Place(instance_type=self.instance_type, gpus=self.gpu_count))

    def instance_type_of(self, model: Model) -> str:
        """EC2 type of the nodes that a model's pods run on."""
        return self.place_of(model).instance_type

    def gpus_of(self, model: Model) -> int:
        """GPUs of each of a model's pods; 0 for CPUs alone."""
        return self.place_of(model).gpus

    def memory_mib_of(self, model: Model) -> int:
        """Main memory of a model's server, MiB: what it asks for, or its share of the node."""
        return self.place_of(model).pod_memory_mib

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
