"""One model in a stack's config: where it comes from, what it is asked, and its limits."""

from __future__ import annotations

import json
import re
from typing import Annotated, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)

from components.instances import known_type
from components.modelfiles import MAX_BYTES, modelfile_text
from components.sections import ModelScaling, Setting, Window
from runtime.spec import (
    MAX_VISIBILITY_SECONDS,
    DocumentType,
    LongDocuments,
    ModelSource,
    ModelSpec,
    Options,
    Quantization,
    ServerSettings,
    TaskKind,
    Think,
    check_schema,
    prompt_inputs,
)

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""A model's name becomes part of Kubernetes and AWS names; 40 characters leave room for what is added."""

RESERVED_NAMES = frozenset({"records", "default"})
"""`records/` in the results bucket holds attempt records; every namespace has a service account `default`."""

RESERVED_SUFFIXES = ("-dead-letter", "-undelivered")
"""Queues of these names belong to the model that is named before them."""


SOURCE_FIELDS = ("from_", "modelfile", "inputs", "digest", "quantize")
"""Of a model, what its weights and their settings are made of."""

DRAIN_SECONDS = 60
"""What a pod gets beyond its time limit: to commit what it holds and to hand back what it cannot finish."""


LEAST_MEMORY_MIB = 512
"""Below it a server has no room for itself; more likely the unit is a slip."""


def _seconds(value: object) -> object:
    """`90s`, `10m` or `2h` as seconds."""
    found = re.fullmatch(r"([0-9]{1,9})(s|m|h)", value) if isinstance(value, str) else None
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    if not 0 < seconds < MAX_VISIBILITY_SECONDS:
        raise ValueError("must be a time such as 90s, 10m or 2h, under the 12h that SQS hides a message")
    return seconds


def _mebibytes(value: object) -> object:
    """`512Mi` or `24Gi` as MiB."""
    found = re.fullmatch(r"([0-9]{1,7})(Mi|Gi)", value) if isinstance(value, str) else None
    amount = int(found[1]) * {"Mi": 1, "Gi": 1024}[found[2]] if found else 0
    if value is not None and amount < LEAST_MEMORY_MIB:
        raise ValueError(f"must be an amount such as 24Gi or 900Mi, and at least {LEAST_MEMORY_MIB}Mi")
    return amount or None


def _think(value: object) -> object:
    """One problem for all that it cannot be, where the union would name one for each of its kinds."""
    if value is None or isinstance(value, bool) or value in get_args(get_args(Think)[1]):
        return value
    raise ValueError("must be true, false, low, medium, high or max")


class Output(Setting):
    """What an answer has to be."""

    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")

    @field_validator("schema_", mode="before")
    @classmethod
    def _keeps_its_order(cls, schema: object) -> object:
        """Takes JSON text too: Pulumi sorts the keys of maps, and a model writes in the schema's order."""
        return json.loads(schema) if isinstance(schema, str) else schema

    @field_validator("schema_")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if schema is not None:
            check_schema(schema)
        return schema


class Model(Setting):
    """One model and its task."""

    name: str
    from_: str | None = Field(default=None, alias="from", min_length=1)
    modelfile: str | None = Field(default=None, min_length=1, validate_default=True)
    inputs: dict[str, JsonValue] = Field(default={}, validate_default=True)
    digest: str | None = None
    quantize: Quantization | None = None
    prompt: str = ""
    system: str = ""
    options: Options = Options()
    think: Annotated[Think | None, BeforeValidator(_think)] = None
    output: Output = Output()
    task: TaskKind = "generate"
    long_documents: LongDocuments = "refuse"
    accepts: tuple[DocumentType, ...] = get_args(DocumentType)
    after: str | None = None
    time_limit: Annotated[int, BeforeValidator(_seconds)] = 600
    attempts: int = Field(default=3, ge=1, le=20)
    parallel: int = Field(default=1, ge=1, le=64)
    server: ServerSettings = ServerSettings()
    documents_per_instance: int | None = Field(default=None, ge=1)
    max_instances: int | None = Field(default=None, ge=0, le=1000)
    min_instances: int = Field(default=0, ge=0, le=1000)
    schedule: tuple[Window, ...] = ()
    scaling: ModelScaling = ModelScaling()
    instance_type: Annotated[str, AfterValidator(known_type)] | None = None
    gpu_count: int | None = Field(default=None, ge=0)
    memory: Annotated[int | None, BeforeValidator(_mebibytes)] = None

    @field_validator("name")
    @classmethod
    def _dns_label(cls, name: str, info: ValidationInfo) -> str:
        if not DNS_LABEL.fullmatch(name):
            raise ValueError(
                "must be a DNS label of at most 40 characters: a-z, 0-9 and -, starting with a letter"
            )
        if name in RESERVED_NAMES:
            raise ValueError("is reserved; choose another name")
        if name.endswith(RESERVED_SUFFIXES):
            raise ValueError(
                f"must not end in {' or '.join(RESERVED_SUFFIXES)}, as another model's queues do"
            )
        if info.context and info.context["names"][name] > 1:
            raise ValueError("is given to more than one model; each needs its own")
        return name

    @field_validator("prompt", "system")
    @classmethod
    def _a_template(cls, text: str) -> str:
        prompt_inputs(text)
        return text

    @field_validator("accepts")
    @classmethod
    def _some_type(cls, accepts: tuple[DocumentType, ...]) -> tuple[DocumentType, ...]:
        if not accepts:
            raise ValueError("must list at least one type")
        return accepts

    @field_validator("modelfile")
    @classmethod
    def _one_source(cls, modelfile: str | None, info: ValidationInfo) -> str | None:
        if "from_" in info.data and (info.data["from_"] is None) == (modelfile is None):
            raise ValueError("a model needs exactly one of `from` and `modelfile`")
        if modelfile is None:
            return None
        text = modelfile_text(modelfile)
        source = ModelSource.model_validate({"modelfile": text})
        # What a placeholder makes of it shows with the inputs.
        source.check_syntax() if prompt_inputs(text) else source.check()
        return text

    @field_validator("inputs")
    @classmethod
    def _fill_the_modelfile(cls, inputs: dict[str, JsonValue], info: ValidationInfo) -> dict[str, JsonValue]:
        size = len(json.dumps(inputs))
        if size > MAX_BYTES:
            raise ValueError(f"have {size} bytes as JSON, more than the {MAX_BYTES} that they may have here")
        if {"from_", "modelfile"} <= info.data.keys():
            cls._source(inputs=inputs, **info.data).check()
        return inputs

    @field_validator("digest")
    @classmethod
    def _pins_what_is_pulled(cls, digest: str | None, info: ValidationInfo) -> str | None:
        if digest is not None and not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise ValueError("must be sha256: and 64 hex digits, as `ollama-eks pin` writes it")
        if digest is not None and {"from_", "modelfile", "inputs"} <= info.data.keys():
            cls._source(digest=digest, **info.data).check()
        return digest

    @field_validator("from_")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        if name is not None:
            ModelSource.model_validate({"from": name}).check()
        return name

    @field_validator("output")
    @classmethod
    def _thinks_or_fits(cls, output: Output, info: ValidationInfo) -> Output:
        if output.schema_ is not None and info.data.get("think"):
            raise ValueError(
                "a schema holds from the first token on, thoughts too; leave `think` out, or set it false"
            )
        return output

    @field_validator("task")
    @classmethod
    def _one_kind_of_answer(cls, task: TaskKind, info: ValidationInfo) -> TaskKind:
        output = info.data.get("output")
        if task == "embed" and output is not None and output.schema_ is not None:
            raise ValueError("vectors have no schema; leave `output` out, or use `task: generate`")
        return task

    @field_validator("server")
    @classmethod
    def _takes_what_is_sent(cls, server: ServerSettings, info: ValidationInfo) -> ServerSettings:
        parallel = info.data.get("parallel", 1)
        if server.max_queue is not None and server.max_queue < parallel:
            raise ValueError(f"maxQueue is under parallel ({parallel}): the server would refuse documents")
        return server

    @field_validator("documents_per_instance")
    @classmethod
    def _keeps_slots_busy(cls, documents: int | None, info: ValidationInfo) -> int | None:
        if documents is not None and documents < info.data.get("parallel", 1):
            raise ValueError(
                f"is under parallel ({info.data['parallel']}): a pod would idle while others start"
            )
        return documents

    @property
    def spec(self) -> ModelSpec:
        """The model itself, whatever it is asked."""
        source = self._source(**{name: getattr(self, name) for name in SOURCE_FIELDS})
        return ModelSpec(source=source)

    @staticmethod
    def _source(**fields: object) -> ModelSource:
        return ModelSource.model_validate({name: fields[name] for name in SOURCE_FIELDS if name in fields})

    @property
    def scaling_target(self) -> int:
        """Documents waiting or in hand for each pod that should run."""
        return self.documents_per_instance or 5 * self.parallel

    @property
    def grace_seconds(self) -> int:
        """What the model's pods get between SIGTERM and SIGKILL."""
        return self.time_limit + DRAIN_SECONDS
