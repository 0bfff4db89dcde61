"""What a stack asks of a model against what is known of it: refused in one sentence, or completed."""

from __future__ import annotations

import pytest

from components.fit import Place
from components.model_section import Model
from components.problems import SettingsError
from components.settings import Settings, parse
from components.suitability import verdict

TEXT = (
    "text/plain",
    "text/markdown",
    "text/html",
    "text/csv",
    "application/json",
    "application/x-subrip",
    "text/vtt",
    "application/pdf",
)
IMAGES = ("image/png", "image/jpeg")


def _parse(*models: dict[str, object], **stack: object) -> Settings:
    named = [{"name": f"m{number}", **model} for number, model in enumerate(models)]
    return parse({"image": "registry.test/image:1", "models": named, **stack})


def _problems(*models: dict[str, object], **stack: object) -> tuple[str, ...]:
    try:
        _parse(*models, **stack)
    except SettingsError as error:
        return error.problems
    return ()


ONE_BY_ONE = "models one by one, whatever is asked; use 1, and more `maxInstances`"
WORDLESS = "and the server cuts the rest without a word; use at most 4096"
SUM = "weights 39.60 + cache of 8192 tokens in f16 2.50 + graph 1.08 + reserve 0.45 = 43.62 GiB"
PLACE = "GiB of 1 x L4 for a pod on g6.2xlarge"
BIGGER = "use `instanceType: g6e.xlarge`"

REFUSED: list[tuple[dict[str, object], str]] = [
    (
        {"from": "llama3.2:3b", "accepts": ["text/plain", "image/png"]},
        (
            'accepts: given ["text/plain", "image/png"]: llama3.2:3b does not see; leave out '
            "image/png, or use a "
            "vision model"
        ),
    ),
    (
        {"from": "qwen3-vl:8b", "parallel": 3},
        f"parallel: given 3: the server takes the requests of qwen3vl {ONE_BY_ONE}",
    ),
    (
        {"from": "bge-m3", "task": "embed", "parallel": 2},
        f"parallel: given 2: the server takes the requests of embedding {ONE_BY_ONE}",
    ),
    (
        {"from": "llama3.2", "task": "embed"},
        'task: given "embed": llama3.2:latest is no embedding model; use one, such as nomic-embed-text',
    ),
    (
        {"from": "bge-m3"},
        'task: given "generate": bge-m3:latest gives vectors alone; use `task: embed`, or another model',
    ),
    (
        {"modelfile": "FROM llama2:7b", "options": {"num_ctx": 8192}},
        f"options.num_ctx: given 8192: llama2:7b was trained on 4K tokens, {WORDLESS}",
    ),
    (
        {"from": "kimi-k2.5"},
        'from: given "kimi-k2.5": kimi-k2.5:latest has no files: its vendor alone serves it',
    ),
    (
        {"from": "tiny", "memory": "64Gi"},
        'memory: given "65536Mi": is more than a pod\'s 26214 MiB: 0.8 of 32768 on g6.2xlarge, for 1 pod(s)',
    ),
    (
        {"from": "llama3.1:70b"},
        f'from: given "llama3.1:70b": does not fit: {SUM}, against 22.35 {PLACE}; {BIGGER}',
    ),
    (
        {"modelfile": "FROM llama3.1:70b"},
        f'modelfile: given "FROM llama3.1:70b": does not fit: {SUM}, against 22.35 {PLACE}; {BIGGER}',
    ),
]


@pytest.mark.parametrize(("model", "problem"), REFUSED)
def test_what_a_model_cannot_do_is_refused_in_one_sentence(model: dict[str, object], problem: str) -> None:
    """Where it is, what was given, why not, and what would be right."""
    assert _problems(model) == (f"models[0].{problem}",)


def test_all_of_it_is_told_together() -> None:
    """With each other, and with what is wrong elsewhere in the config."""
    private = (
        'api: given "public": must be private, or {publicCidrs: [...]} with the networks that may reach it'
    )
    expected = [f"models[{number}].{problem}" for number, (_, problem) in enumerate(REFUSED)]
    assert _problems(*(model for model, _ in REFUSED), api="public") == (private, *expected)


def test_without_a_place_only_the_fit_stays_open() -> None:
    """An instance type that is wrong hides nothing of what a model cannot do."""
    found = _problems({"from": "llama3.1:70b", "task": "embed"}, instanceType="zzz")
    assert [problem.partition(":")[0] for problem in found] == ["instanceType", "models[0].task"]


@pytest.mark.parametrize(
    ("model", "accepts", "num_ctx"),
    [
        ({"from": "llama3.2"}, TEXT, 8192),
        ({"from": "gemma3:1b"}, TEXT, 8192),
        ({"from": "gemma3:4b"}, TEXT + IMAGES, 8192),
        ({"from": "llama2"}, TEXT, 4096),
        ({"from": "llama2", "options": {"temperature": 0}}, TEXT, 4096),
        ({"from": "nomic-embed-text", "task": "embed"}, TEXT, 2048),
        ({"from": "me/own"}, TEXT + IMAGES, 8192),
        ({"from": "s3://bucket/own.gguf"}, TEXT + IMAGES, 8192),
        (
            {"from": "me/own", "task": "embed", "parallel": 8, "options": {"num_ctx": 10**6}},
            TEXT + IMAGES,
            10**6,
        ),
        ({"from": "llava", "accepts": ["image/png"]}, ("image/png",), 8192),
    ],
)
def test_what_the_config_does_not_say_follows_from_the_model(
    model: dict[str, object], accepts: tuple[str, ...], num_ctx: int
) -> None:
    """Images where it sees, and no more context than it knows; of an unknown one everything is believed."""
    (parsed,) = _parse(model).models
    assert (parsed.accepts, parsed.options.num_ctx) == (accepts, num_ctx)


def test_the_context_may_be_all_that_was_trained() -> None:
    """The library cuts to whole K: what is less than one K beyond may still be there."""
    assert _problems({"from": "llama2", "options": {"num_ctx": 4096}}) == ()
    assert _problems({"from": "llama2", "options": {"num_ctx": 5119}}) == ()
    assert len(_problems({"from": "llama2", "options": {"num_ctx": 5120}})) == 1


@pytest.mark.parametrize(
    ("model", "stack", "fits"),
    [
        ({"from": "qwen2.5:32b"}, {}, True),
        ({"from": "qwen2.5:32b", "parallel": 2}, {}, False),
        ({"from": "qwen2.5:32b", "parallel": 2, "options": {"num_gpu": 30}}, {}, True),
        ({"from": "gemma2:27b", "server": {"gpuOverhead": 8 * 2**30}}, {}, False),
        ({"from": "llama3.1:8b", "options": {"num_ctx": 65_536}}, {}, True),
        ({"from": "llama3.1:8b", "options": {"num_ctx": 131_072}}, {}, False),
        ({"from": "llama3.1:8b"}, {"instanceType": "m7i.xlarge", "gpuCount": 0}, True),
        ({"from": "llama3.1:8b", "memory": "4Gi"}, {"instanceType": "m7i.xlarge", "gpuCount": 0}, False),
        ({"from": "llama3.1:70b"}, {"instanceType": "g6.12xlarge", "gpuCount": 4}, True),
        ({"from": "x/llama3.1:405b"}, {}, True),
        ({"from": "llama3.1:70b", "instanceType": "g6.12xlarge", "gpuCount": 4}, {}, True),
        ({"from": "llama3.1:70b", "instanceType": "g6.12xlarge"}, {}, False),
        ({"from": "llama3.1:70b", "instanceType": "g6e.xlarge"}, {}, True),
        ({"from": "llama3.1:8b", "gpuCount": 2}, {"instanceType": "g6.12xlarge", "gpuCount": 4}, True),
        ({"from": "llama3.1:8b", "instanceType": "m7i.large", "gpuCount": 0}, {}, True),
        ({"from": "llama3.1:8b", "instanceType": "m7i.large", "gpuCount": 0, "parallel": 4}, {}, False),
    ],
)
def test_a_model_is_held_against_where_it_runs(
    model: dict[str, object], stack: dict[str, object], fits: object
) -> None:
    """Context, slots, the server's own settings, memory and GPUs count; an unknown size does not."""
    assert (_problems(model, **stack) == ()) is fits


@pytest.mark.parametrize(
    ("model", "stack", "problem"),
    [
        (
            {"instanceType": "m7i.xlarge"},
            {},
            (
                "instanceType: given \"m7i.xlarge\": needs a `gpuCount` of the model's own: the stack's 1 is "
                "more than the 0 GPU(s) of m7i.xlarge"
            ),
        ),
        (
            {"instanceType": "g6.xlarge"},
            {"instanceType": "m7i.xlarge", "gpuCount": 0},
            (
                "instanceType: given \"g6.xlarge\": needs a `gpuCount` of the model's own: the stack's 0 "
                "would leave the GPU of g6.xlarge unused; choose a CPU type such as m7i.2xlarge"
            ),
        ),
        (
            {"instanceType": "g6.xlarge", "gpuCount": 2},
            {},
            "gpuCount: given 2: is more than the 1 GPU(s) of g6.xlarge",
        ),
        (
            {"gpuCount": 2, "memory": "79Gi"},
            {"instanceType": "g6.12xlarge"},
            (
                'memory: given "80896Mi": is more than a pod\'s 78643 MiB: 0.8 of 196608 on g6.12xlarge, '
                "for 2 pod(s)"
            ),
        ),
        (
            {"instanceType": "g5g.xlarge"},
            {},
            'instanceType: given "g5g.xlarge": has Arm processors, and the image is made for x86-64',
        ),
    ],
)
def test_a_model_has_a_place_of_its_own(
    model: dict[str, object], stack: dict[str, object], problem: str
) -> None:
    """What it says of its nodes is held against what it leaves to the stack, at the key that can mend it."""
    assert _problems({"from": "tiny", **model}, **stack) == (f"models[0].{problem}",)


@pytest.mark.parametrize("memory", ["24", "0Gi", "1.5Gi", 24, True, "24GB", "-1Gi", "24Mi", "511Mi"])
def test_memory_is_an_amount_with_a_unit(memory: object) -> None:
    """Anything else is one problem."""
    (problem,) = _problems({"from": "tiny", "memory": memory})
    assert problem.endswith("must be an amount such as 24Gi or 900Mi, and at least 512Mi")


@pytest.mark.parametrize(("memory", "expected"), [("24Gi", 24_576), ("512Mi", 512), (None, 26_214)])
def test_a_model_may_ask_for_less_than_its_share(memory: str | None, expected: int) -> None:
    """By default it has its part of the node."""
    parsed = _parse({"from": "tiny", "memory": memory})
    assert parsed.memory_mib_of(parsed.models[0]) == expected


def test_a_family_that_is_left_out_says_why() -> None:
    """Rather than that its name is unknown."""
    assert _problems({"from": "tiny"}, instanceType="g5g.xlarge") == (
        'instanceType: given "g5g.xlarge": has Arm processors, and the image is made for x86-64',
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "llama3.2:3b",
            (
                "weights 1.88 + cache of 8192 tokens in f16 0.88 + graph 0.41 + reserve 0.45 = 3.62 GiB, "
                "against 22.35 "
                f"{PLACE}"
            ),
        ),
        (
            "gpt-oss:20b",
            (
                f"weights 13.04 + reserve 0.45 = 13.48 GiB, against 22.35 {PLACE}; its cache is unknown: "
                f"no source "
                "gives its shape"
            ),
        ),
        ("me/own", "unknown: no source gives the size of its weights"),
    ],
)
def test_a_plan_has_one_line_on_how_it_fits(source: str, expected: str) -> None:
    """The sum, and what of it nobody knows."""
    model = Model.model_validate({"name": "a", "from": source})
    assert verdict(model, Place(instance_type="g6.2xlarge", gpus=1)) == expected
