"""The stack's config: what is taken, what is refused, and in which words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.instances import INSTANCES
from components.model_section import Model, Output
from components.problems import SettingsError
from components.sections import Api, ModelScaling, Network, Scaling, Window
from components.settings import Settings, parse
from runtime.spec import MAX_VISIBILITY_SECONDS, DocumentType, Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

IMAGE = "registry.test/ollama-eks:1"

TIME = "must be a time such as 90s, 10m or 2h, under the 12h that SQS hides a message"
LABEL = "must be a DNS label of at most 40 characters: a-z, 0-9 and -, starting with a letter"
ONE_SOURCE = "a model needs exactly one of `from` and `modelfile`"
RANGE = "must be a private range between /16 and /22, such as 10.64.0.0/16"
ZONES = "must be 2 to 4 different zone letters of the region, such as [a, b]"
API = "must be private, or {publicCidrs: [...]} with the networks that may reach it"
WHOLE = "is the whole internet; name your own networks, or use `api: private`"
NO_IMAGE = (
    "must be build, or a reference with a tag other than latest, or a digest, "
    "such as registry.example.com/ollama-eks:0.1.0"
)
NOT_EMPTY = "string should have at least 1 character"
KIND = "input should be 'generate' or 'embed'"
LONG = "input should be 'refuse' or 'split'"
SLIP = "a placeholder is `{{ inputs.name }}`, without filters or code"
THOUGHTS = "a schema holds from the first token on, thoughts too; leave `think` out, or set it false"
VECTORS = "vectors have no schema; leave `output` out, or use `task: generate`"

TYPES = (
    "text/plain",
    "text/markdown",
    "text/html",
    "text/csv",
    "application/json",
    "application/x-subrip",
    "text/vtt",
    "application/pdf",
    "image/png",
    "image/jpeg",
)
"""All that a worker reads."""


def _config(*models: Mapping[str, object], **stack: object) -> dict[str, object]:
    """A config that is good but for what is given."""
    return {"image": IMAGE, "models": list(models) or [{"name": "a", "from": "tiny"}], **stack}


def _model(**changes: object) -> dict[str, object]:
    return {"name": "a", "from": "tiny", **changes}


def _problems(config: Mapping[str, object]) -> tuple[str, ...]:
    try:
        parse(config)
    except SettingsError as error:
        return error.problems
    return ()


def _with(path: str, value: object) -> dict[str, object]:
    """A config that is good but for the value at a path such as `network.cidr` or `models[0].name`."""
    part, *keys = path.split(".")
    for key in reversed(keys):
        value = {key: value}
    if part == "models[0]":
        return _config(_model(**cast("dict[str, object]", value)))
    return _config(**{part: value})


def test_the_smallest_config_has_exactly_these_defaults() -> None:
    """An image and a model are enough; everything else has the value written here."""
    options = {"num_ctx": 8192, "num_predict": 2048, "use_mmap": False}
    assert parse(_config(_model())).model_dump(exclude_none=True) == {
        "image": IMAGE,
        "mirror": False,
        "instance_type": "g6.2xlarge",
        "gpu_count": 1,
        "max_instances": 5,
        "capacity_type": "on-demand",
        "network": {"cidr": "10.64.0.0/16", "zones": ("a", "b"), "egress": "nat"},
        "scaling": {"poll_seconds": 10, "cooldown_seconds": 600, "scale_down_period_seconds": 60},
        "api": {"public_cidrs": ()},
        "kubernetes_version": "1.35",
        "admins": (),
        "protect": True,
        "collect_models": True,
        "log_retention_days": 30,
        "models": (
            {
                "name": "a",
                "from_": "tiny",
                "inputs": {},
                "prompt": "",
                "system": "",
                "options": options,
                "output": {},
                "task": "generate",
                "long_documents": "refuse",
                "accepts": TYPES,
                "time_limit": 600,
                "attempts": 3,
                "parallel": 1,
                "server": {"load_timeout": 900},
                "min_instances": 0,
                "schedule": (),
                "scaling": {},
            },
        ),
    }


def test_all_problems_are_reported_together() -> None:
    """One error has a line for every problem: where it is, what was given, what would be right."""
    config = {
        "instanceType": "g6.2xlrge",
        "maxInstance": 3,
        "gpuCount": -1,
        "capacityType": "Spot",
        "network": {"cidr": "8.8.0.0/16", "zones": ["a"], "zone": "b"},
        "scaling": {"pollSeconds": 0},
        "api": "public",
        "models": [
            {"name": "records", "from": "tiny", "timeLimit": "12h", "options": {"num_ctxx": 1}},
            {"name": "b", "from": "tiny", "modelfile": "FROM tiny", "parallel": 4, "documentsPerInstance": 3},
            {"name": "b"},
            {
                "name": "c",
                "from": "tiny",
                "prompt": "{{ inputs.a | upper }}",
                "system": "{{ inputs.a }}\n{{ inputs }}",
                "output": {"schema": {"items": {"$ref": "#/$defs/x"}}, "schemas": 1},
                "task": "embeddings",
                "longDocuments": "cut",
            },
        ],
    }
    with pytest.raises(SettingsError) as caught:
        parse(config)
    near = "; did you mean g6.2xlarge or g6e.2xlarge or g6.24xlarge?"
    idle = "is under parallel (4): a pod would idle while others start"
    twice = "is given to more than one model; each needs its own"
    nowhere = "a `$ref` to '/$defs/x' leads nowhere within the schema"
    assert str(caught.value).splitlines() == [
        "the stack's config has 23 problem(s):",
        f'  - instanceType: given "g6.2xlrge": is not a type that this program knows{near}',
        "  - gpuCount: given -1: input should be greater than or equal to 0",
        "  - capacityType: given \"Spot\": input should be 'on-demand' or 'spot'",
        f'  - network.cidr: given "8.8.0.0/16": {RANGE}',
        f'  - network.zones: given ["a"]: {ZONES}',
        "  - network.zone: is not a key; did you mean zones?",
        "  - scaling.pollSeconds: given 0: input should be greater than or equal to 1",
        f'  - api: given "public": {API}',
        '  - models[0].name: given "records": is reserved; choose another name',
        "  - models[0].options.num_ctxx: is not a key; did you mean num_ctx or num_predict?",
        f'  - models[0].timeLimit: given "12h": {TIME}',
        f'  - models[1].name: given "b": {twice}',
        f'  - models[1].modelfile: given "FROM tiny": {ONE_SOURCE}',
        f"  - models[1].documentsPerInstance: given 3: {idle}",
        f'  - models[2].name: given "b": {twice}',
        f"  - models[2].modelfile: given null: {ONE_SOURCE}",
        f'  - models[3].prompt: given "{{{{ inputs.a | upper }}}}": line 1: {SLIP}',
        f'  - models[3].system: given "{{{{ inputs.a }}}}\\n{{{{ inputs }}}}": line 2: {SLIP}',
        f'  - models[3].output.schema: given {{"items": {{"$ref": "#/$defs/x"}}}}: {nowhere}',
        "  - models[3].output.schemas: is not a key; did you mean schema?",
        f'  - models[3].task: given "embeddings": {KIND}',
        f'  - models[3].longDocuments: given "cut": {LONG}',
        "  - maxInstance: is not a key; did you mean maxInstances or instanceType?",
    ]


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("zzz", ""),
        ("instance_type", "; did you mean instanceType?"),
        ("network.zone", "; did you mean zones?"),
        (
            "scaling.cooldownSecond",
            "; did you mean cooldownSeconds or pollSeconds or scaleDownPeriodSeconds?",
        ),
        ("api.publicCIDRs", "; did you mean publicCidrs?"),
        ("models[0].acepts", "; did you mean accepts or attempts?"),
        ("models[0].time_limit", "; did you mean timeLimit?"),
        ("models[0].long_documents", "; did you mean longDocuments?"),
        ("models[0].output.schema_", "; did you mean schema?"),
        ("models[0].schema", ""),
    ],
)
def test_an_unknown_key_is_refused_at_every_level(path: str, near: str) -> None:
    """Only the documented spelling is taken; a near one is named."""
    assert _problems(_with(path, "1")) == (f"{path}: is not a key{near}",)


OFFICE_HOURS = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "instances": 1}

TAKEN: dict[str, list[object]] = {
    "gpuCount": [1, "1"],  # the command line sets top-level values as text
    "maxInstances": [0, 1000],
    "capacityType": ["on-demand", "spot"],
    "kubernetesVersion": ["1.34", "1.35"],
    "protect": [False, "false"],
    "network.cidr": ["10.0.0.0/16", "192.168.0.0/22"],
    "network.zones": [["a", "b"], ["a", "b", "c", "d"]],
    "scaling.pollSeconds": [1, 300],
    "scaling.cooldownSeconds": [0, 86_400],
    "scaling.scaleDownPeriodSeconds": [1, 1800],
    "api": ["private"],
    "api.publicCidrs": [["192.0.2.0/24", "198.51.100.7"]],
    "models[0].name": ["a", "a-1", "a" * 40],
    "models[0].timeLimit": ["1s", "90s", "11h", "719m", "43199s"],
    "models[0].attempts": [1, 20],
    "models[0].parallel": [1, 64],
    "models[0].documentsPerInstance": [1],
    "models[0].maxInstances": [0, 1000],
    "models[0].minInstances": [0, 5],
    "models[0].schedule": [[], [OFFICE_HOURS], [OFFICE_HOURS, {**OFFICE_HOURS, "instances": 5}]],
    "models[0].scaling": [{}, {"pollSeconds": None}, {"pollSeconds": 1, "scaleDownPeriodSeconds": 1800}],
    "models[0].instanceType": [None, "g6e.xlarge"],
    "models[0].gpuCount": [None, 1],
    "models[0].memory": [None, "512Mi", "25Gi", "26214Mi"],
    "models[0].accepts": [["text/plain"], ["application/pdf", "image/png", "image/jpeg"], list(TYPES)],
    "models[0].prompt": ["", "{{ inputs.a }}", "{{ .Prompt }} {} }}"],
    "models[0].system": ["", "{{ inputs.a.0 }}", "{{ .System }}"],
    "models[0].think": [None, True, False, "low", "medium", "high", "max"],
    "models[0].output": [{}],
    "models[0].output.schema": [None, {}, "{}", {"type": "object"}, {"properties": {"a": {"$ref": "#"}}}],
    "models[0].task": ["generate", "embed"],
    "models[0].longDocuments": ["refuse", "split"],
    "models[0].options": [{}, {"num_ctx": 128}],
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in TAKEN.items() for value in values]
)
def test_values_at_the_edge_are_taken(path: str, value: object) -> None:
    """Each rule's own bounds belong to what it allows."""
    assert _problems(_with(path, value)) == ()


REFUSED: list[tuple[str, str, list[object]]] = [
    ("image", NO_IMAGE, ["", "ollama-eks:latest", "ollama-eks"]),
    ("instanceType", "is not a type that this program knows", ["zzz"]),
    ("gpuCount", "is more than the 1 GPU(s) of g6.2xlarge", [2]),
    ("gpuCount", "would leave the GPU of g6.2xlarge unused; choose a CPU type such as m7i.2xlarge", [0]),
    ("maxInstances", "input should be greater than or equal to 0", [-1]),
    ("maxInstances", "input should be less than or equal to 1000", [1001]),
    ("kubernetesVersion", "must be one of 1.34, 1.35", ["1.33"]),
    ("protect", "input should be a valid boolean, unable to interpret input", ["maybe"]),
    ("network.cidr", RANGE, ["10.0.0.0/15", "10.0.0.0/23", "8.0.0.0/16"]),
    ("network.cidr", "10.0.0.1/16 is no IPv4 network; write it such as 203.0.113.0/24", ["10.0.0.1/16"]),
    ("network.zones", ZONES, [["a"], ["a", "b", "c", "d", "e"], ["a", "a"], ["a", "1"]]),
    ("scaling.pollSeconds", "input should be less than or equal to 300", [301]),
    ("scaling.cooldownSeconds", "input should be less than or equal to 86400", [86_401]),
    ("scaling.scaleDownPeriodSeconds", "input should be less than or equal to 1800", [1801]),
    ("scaling.scaleDownPeriodSeconds", "input should be greater than or equal to 1", [0]),
    ("api", API, [{}, None, "Private"]),
    ("api.publicCidrs", WHOLE, [["0.0.0.0/0"], ["192.0.2.0/24", "0.0.0.0/0"]]),
    ("models", "must list at least one model", [[], None]),
    ("models[0].name", LABEL, ["a" * 41, "a-", "1a", "A", "a_b", "a\n", ""]),
    ("models[0].name", "is reserved; choose another name", ["records"]),
    ("models[0].from", NOT_EMPTY, [""]),
    ("models[0].modelfile", ONE_SOURCE, ["FROM tiny"]),
    ("models[0].timeLimit", TIME, ["0s", "12h", "43200s", "10", "1h30m", 0, -1, 43_200, True, 1.5, None]),
    ("models[0].attempts", "input should be greater than or equal to 1", [0]),
    ("models[0].attempts", "input should be less than or equal to 20", [21]),
    ("models[0].parallel", "input should be less than or equal to 64", [65]),
    ("models[0].documentsPerInstance", "input should be greater than or equal to 1", [0]),
    ("models[0].maxInstances", "input should be less than or equal to 1000", [1001]),
    ("models[0].minInstances", "input should be greater than or equal to 0", [-1]),
    ("models[0].minInstances", "is over maxInstances (5); ask for fewer, or raise that", [6]),
    ("models[0].scaling.pollSeconds", "input should be greater than or equal to 1", [0]),
    ("models[0].scaling.cooldownSeconds", "input should be less than or equal to 86400", [86_401]),
    ("models[0].scaling.scaleDownPeriodSeconds", "input should be less than or equal to 1800", [1801]),
    ("models[0].instanceType", "is not a type that this program knows", ["zzz"]),
    ("models[0].gpuCount", "is more than the 1 GPU(s) of g6.2xlarge", [2]),
    (
        "models[0].gpuCount",
        "would leave the GPU of g6.2xlarge unused; choose a CPU type such as m7i.2xlarge",
        [0],
    ),
    (
        "models[0].instanceType",
        "needs a `gpuCount` of the model's own: the stack's 1 is more than the 0 GPU(s) of m7i.xlarge",
        ["m7i.xlarge"],
    ),
    ("models[0].accepts", "must list at least one type", [[]]),
    ("models[0].prompt", f"line 1: {SLIP}", ["{{ inputs.a | upper }}", "{{inputs}}", "{{- inputs.a }}"]),
    ("models[0].prompt", f"line 2: {SLIP}; line 3: {SLIP}", ["a\n{{ inputs. }}\n{{ inputs['a'] }}"]),
    ("models[0].system", f"line 1: {SLIP}", ["{{ inputs.a | upper }}"]),
    ("models[0].output", "input should be a valid dictionary or instance of Output", ["json", None]),
    ("models[0].output.schema", "input should be a valid dictionary", [[], True]),
    (
        "models[0].output.schema",
        "$.type: 'objekt' is not valid under any of the given schemas",
        [{"type": "objekt"}],
    ),
    (
        "models[0].output.schema",
        "$.properties.a.minimum: '1' is not of type 'number'",
        [{"properties": {"a": {"minimum": "1"}}}],
    ),
    ("models[0].output.schema", "a `$ref` to '/a' leads nowhere within the schema", [{"$ref": "#/a"}]),
    (
        "models[0].output.schema",
        "a `$ref` to 'https://x.test/' leads nowhere within the schema",
        [{"$ref": "https://x.test/"}],
    ),
    ("models[0].task", KIND, ["Embed", "", None]),
    ("models[0].longDocuments", LONG, ["cut", True, None]),
]


@pytest.mark.parametrize(
    ("path", "reason", "value"),
    [(path, reason, value) for path, reason, values in REFUSED for value in values],
)
def test_values_beyond_the_edge_are_refused_in_one_sentence(path: str, reason: str, value: object) -> None:
    """Where it is, what was given, and why it cannot be."""
    assert _problems(_with(path, value)) == (f"{path}: given {json.dumps(value)}: {reason}",)


def test_a_type_that_no_worker_reads_is_one_problem() -> None:
    """The item is named, with all that it could have been; the list around it is not complained of too."""
    known = ", ".join(f"'{name}'" for name in get_args(DocumentType)[:-1])
    reason = f"input should be {known} or '{get_args(DocumentType)[-1]}'"
    assert _problems(_with("models[0].accepts", ["text/pdf"])) == (
        f'models[0].accepts[0]: given "text/pdf": {reason}',
    )


def test_a_long_value_is_shown_by_its_beginning() -> None:
    """One word that is too long for a line is still recognisable."""
    (problem,) = _problems(_with("models[0].name", "long" * 100))
    assert problem.startswith('models[0].name: given "longlong')
    assert len(problem) < 200


@pytest.mark.parametrize("value", ["most", 1, 2, "yes", ""])
def test_a_way_to_think_that_no_model_has_is_one_problem(value: object) -> None:
    """It is told once, at its own key."""
    (problem,) = _problems(_with("models[0].think", value))
    assert problem.startswith(f"models[0].think: given {json.dumps(value)}: ")


def test_vectors_have_no_schema() -> None:
    """Whatever it is, even an empty one; an output without one is no question of vectors."""

    def embedding(**output: object) -> tuple[str, ...]:
        return _problems(_config(_model(task="embed", output=output)))

    assert embedding() == embedding(schema=None) == ()
    assert embedding(schema={}) == (f'models[0].task: given "embed": {VECTORS}',)
    # A schema that is broken is told first: the other problem may go with it.
    assert embedding(schema={"type": 1}) == (
        'models[0].output.schema: given {"type": 1}: $.type: 1 is not valid under any of the given schemas',
    )


@pytest.mark.parametrize("think", [None, False, True, "low"])
def test_an_answer_by_a_schema_has_no_thoughts(*, think: object) -> None:
    """Either a schema, if only an empty one, or thoughts; a model that is told not to think has none."""
    problem = f'models[0].output: given {{"schema": {{}}}}: {THOUGHTS}'
    found = _problems(_config(_model(think=think, output={"schema": {}})))
    assert found == ((problem,) if think else ())
    assert _problems(_config(_model(think=think, output={"schema": None}))) == ()


def test_a_schema_is_taken_as_it_is() -> None:
    """No key of it is renamed, nor any of its nulls left out: they are the user's own."""
    schema = {"properties": {"first_name": {"const": None}, "lastName": {}}, "default": None}
    assert parse(_with("models[0].output.schema", schema)).models[0].output.schema_ == schema


@pytest.mark.parametrize(
    ("capacity", "time_limit", "grace_seconds"),
    [
        ("on-demand", "1s", 61),
        ("on-demand", "40s", 100),
        ("on-demand", "10m", 660),
        ("on-demand", "11h", 39_660),
        ("spot", "1s", 61),
        ("spot", "39s", 99),
        ("spot", "40s", 100),
        ("spot", "41s", 100),
        ("spot", "11h", 100),
    ],
)
def test_a_pod_on_spot_has_no_more_time_than_its_node(
    capacity: str, time_limit: str, grace_seconds: int
) -> None:
    """The time limit and a minute to hand over; on Spot at most what is left of a notice of two minutes."""
    parsed = parse(_config(_model(timeLimit=time_limit), capacityType=capacity))
    assert parsed.grace_seconds_of(parsed.models[0]) == grace_seconds


def test_a_cpu_type_has_no_gpu_to_give() -> None:
    """The default of one GPU is held against the instance type like any other count."""
    assert _problems(_config(instanceType="m7i.xlarge")) == (
        "gpuCount: given 1: is more than the 0 GPU(s) of m7i.xlarge",
    )


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ({}, 5),
        ({"parallel": 3}, 15),
        ({"parallel": 3, "documentsPerInstance": 3}, 3),
        ({"documentsPerInstance": 70}, 70),
    ],
)
def test_the_scaling_target_is_five_documents_for_each_slot(model: dict[str, object], target: int) -> None:
    """Unless the model says another number."""
    assert parse(_config(_model(**model))).models[0].scaling_target == target


def test_a_models_own_ceiling_wins() -> None:
    """Also where it is 0, which pauses the model."""
    parsed = parse(_config(_model(), _model(name="b", maxInstances=0), _model(name="c", maxInstances=9)))
    assert [parsed.instances_of(model) for model in parsed.models] == [5, 0, 9]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _keys(part: type[BaseModel], **better: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the keys of a part of the config, or some of them, and anything as values."""
    names = [field.alias or name for name, field in part.model_fields.items()]
    return st.fixed_dictionaries({}, optional={name: better.get(name, JSON) for name in names})


WORDS = ["$ref", "$id", "$schema", "$defs", "$anchor", "$dynamicRef", "properties", "items", "type", "not"]
PLACES = st.sampled_from(["#", "#/$defs/a", "#a", "http://[", "https://x.test/a", "object", "%zz"])
SCHEMAS = st.recursive(
    PLACES | st.booleans() | st.none() | st.integers(-1, 1),
    lambda inner: st.dictionaries(st.sampled_from(WORDS), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)
TEMPLATES = st.text(alphabet="{} .|a0-").map(lambda text: f"{{{{ inputs{text}")
NAMES = st.sampled_from(["llama3.2", "llama2:7b", "llava", "bge-m3", "qwen3.5", "kimi-k2.5", "llama3.1:405b"])
CRONS = st.text(alphabet="0123456789*/-,? mon", max_size=15) | st.sampled_from(["0 8 * * 1-5", "0 0 30 2 *"])
TIMEZONES = st.sampled_from(["Europe/Berlin", "UTC"])
MODELS = _keys(
    Model,
    **{"from": NAMES | JSON},
    memory=st.from_regex(r"\d{1,4}[GM]i", fullmatch=True) | JSON,
    prompt=TEMPLATES | JSON,
    system=TEMPLATES | JSON,
    output=_keys(Output, schema=SCHEMAS) | JSON,
    think=st.sampled_from(["low", "max", True]) | JSON,
    task=st.just("embed") | JSON,
    timeLimit=st.from_regex(r"\d{1,5}[smh]", fullmatch=True) | JSON,
    parallel=st.integers(0, 65) | JSON,
    options=_keys(Options) | JSON,
    scaling=_keys(ModelScaling, pollSeconds=st.integers(0, 301)) | JSON,
    schedule=st.lists(_keys(Window, start=CRONS, end=CRONS, timezone=TIMEZONES)) | JSON,
    minInstances=st.integers(-1, 9) | JSON,
    maxInstances=st.integers(-1, 9) | JSON,
    instanceType=st.sampled_from(sorted(INSTANCES)) | JSON,
    gpuCount=st.integers(-1, 9) | JSON,
)
CONFIGS = _keys(
    Settings,
    instanceType=st.sampled_from(sorted(INSTANCES)),
    gpuCount=st.integers(-1, 9) | JSON,
    network=_keys(Network) | JSON,
    scaling=_keys(Scaling) | JSON,
    api=_keys(Api) | JSON,
    models=st.lists(MODELS | MODELS.map(lambda changes: _model(**changes)), max_size=3) | JSON,
)


@settings(deadline=None, max_examples=300)
@given(CONFIGS | CONFIGS.map(lambda changes: _config(**changes)))
def test_any_config_is_taken_or_explained(config: dict[str, Any]) -> None:
    """Whatever JSON holds gives settings that can be used, or one `SettingsError`: nothing else is raised."""
    try:
        parsed = parse(config)
    except SettingsError:
        return
    assert {pool.instance_type for pool in parsed.pools} == {*map(parsed.instance_type_of, parsed.models)}
    assert all(pool.max_nodes >= 1 for pool in parsed.pools)
    assert all(parsed.memory_mib_of(model) > 0 for model in parsed.models)
    assert all(parsed.gpus_of(model) in range(9) for model in parsed.models)
    assert all(parsed.scaling_of(model).poll_seconds >= 1 for model in parsed.models)
    assert all(0 < model.time_limit < MAX_VISIBILITY_SECONDS for model in parsed.models)
    assert all(len(model.spec.hash) == 64 for model in parsed.models)
    assert all(0 < parsed.grace_seconds_of(model) <= model.time_limit + 60 for model in parsed.models)
    schemas = [model for model in parsed.models if model.output.schema_ is not None]
    assert not any(model.task == "embed" or model.think for model in schemas)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "default", 'models[0].name: given "default": is reserved; choose another name'),
        ("name", "a-dead-letter", 'models[0].name: given "a-dead-letter": must not end in -dead-letter'),
        ("from", "not a name!!", "models[0].from: given "),
        ("modelfile", "FORM llama3", "models[0].modelfile: given "),
    ],
)
def test_what_no_job_could_use_is_refused_before_anything_is_deployed(
    field: str, value: str, sentence: str
) -> None:
    """Names that are taken, and sources that no parser reads, are problems of the config."""
    model = {"name": "a", "from": "tiny"} | {field: value}
    if field == "modelfile":
        del model["from"]
    with pytest.raises(SettingsError) as caught:
        parse({"image": IMAGE, "models": [model]})
    (problem,) = caught.value.problems
    assert problem.startswith(sentence)
