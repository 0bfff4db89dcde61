"""What is known of models: every name of the earlier system, every fact with its source."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.catalogue import ENTRIES, SHAPES, SINGLE, SOURCES, Known, known, lookup
from runtime.spec import ModelSource

SEEDS = re.findall(
    r"\S+",
    """
    gemma gemma2 llama2 llama3 llama3.1 mistral mixtral mistral-large mistral-openorca dolphin-mistral
    yarn-mistral samantha-mistral mistrallite mistral-nemo mathstral llava neural-chat codellama
    dolphin-mixtral llama2-uncensored orca-mini phi phi3 deepseek-coder deepseek-coder-v2 vicuna zephyr
    openhermes wizardcoder phind-codellama llama2-chinese tinyllama openchat qwen qwen2 orca2 falcon
    wizard-math nous-hermes dolphin-phi starling-lm codeup starcoder starcoder2 medllama2 yi everythinglm
    bakllava stable-code stable-beluga solar sqlcoder tinydolphin dolphincoder meditron magicoder stablelm2
    llama-pro codebooga nexusraven goliath notux alfred megadolphin wizardlm wizardlm2 notus duckdb-nsql
    command-r command-r-plus dbrx aya
    """,
)
"""The 72 names of the earlier system's list."""

CURRENT = re.findall(
    r"\S+",
    """
    llama3.2 llama3.2-vision llama3.3 llama4 qwen2.5 qwen2.5-coder qwen2.5vl qwen3 qwen3-vl qwen3-next
    qwen3.5 qwen3.6 gemma3 gemma3n gemma4 phi4 gpt-oss deepseek-r1 mistral-small3.2 ministral-3 magistral
    devstral granite4 glm-4.7-flash olmo-3 nemotron-3-nano lfm2.5 embeddinggemma qwen3-embedding
    nomic-embed-text mxbai-embed-large bge-m3 snowflake-arctic-embed2 all-minilm
    """,
)


def _known(name: str) -> Known:
    found = lookup(name)
    assert found is not None
    return found


def test_every_model_of_the_earlier_system_is_known() -> None:
    """All 72, two as seeing and none as embedding, each with the size of its `latest` if it has one."""
    assert len(SEEDS) == 72
    assert [name for name in SEEDS if name not in ENTRIES] == []
    assert {name for name in SEEDS if _known(name).sees} == {"llava", "bakllava"}
    assert not any(_known(name).embeds for name in SEEDS)
    assert [name for name in SEEDS if not _known(name).size_bytes] == ["wizardlm"]
    assert "latest" not in ENTRIES["wizardlm"].tags


def test_the_current_families_are_known() -> None:
    """With all that their page says, and 234 names altogether."""
    assert [name for name in CURRENT if name not in ENTRIES] == []
    assert len(ENTRIES) == 234


def test_no_fact_is_without_source_and_date() -> None:
    """Each entry, file and shape names what was read; sources are known by name and lie in the past."""
    facts = [
        *ENTRIES.values(),
        *SHAPES.values(),
        *(file for entry in ENTRIES.values() for file in entry.tags.values()),
    ]
    assert {fact.source for fact in facts} <= set(SOURCES.values())
    assert {name: source.date for name, source in SOURCES.items()} == {
        "library": date(2026, 6, 20),
        "manifests": date(2025, 8, 5),
        "configs": date(2026, 6, 29),
        "server": date(2026, 5, 14),
    }
    assert all(len(source.what) > 20 for source in SOURCES.values())


def test_every_figure_is_one() -> None:
    """Bytes, contexts and shapes are positive; heads divide into groups; a shape belongs to a file."""
    for entry in ENTRIES.values():
        for file in entry.tags.values():
            assert 10**7 < file.size_bytes < 2 * 10**12
            assert file.context_k is None or file.context_k > 0
    for name, shape in SHAPES.items():
        assert all(number > 0 for number in shape[1:7])
        assert shape.heads % shape.kv_heads == 0
        model, _, size = name.partition(":")
        assert any(tag.partition("-")[0] == size for tag in ENTRIES[model].tags)
    assert set(SINGLE) <= set(ENTRIES)


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2:3b",
        "llama3.2",
        "library/llama3.2:3b",
        "registry.ollama.ai/library/llama3.2:latest",
        "LLAMA3.2:3B",
    ],
)
def test_a_model_is_known_by_every_way_to_write_it(name: str) -> None:
    """With and without registry, namespace and tag."""
    found = _known(name)
    assert (found.size_bytes, found.context_k, found.sees, found.single) == (2_019_377_376, 128, False, None)
    assert found.shape is not None
    assert found.shape[:8] == ("llama", 28, 24, 8, 128, 3072, 128_000, 0)


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "me/llama3.2",
        "hf.co/library/llama3.2",
        "s3://bucket/llama3.2",
        "localhost:5000/library/llama3.2",
        "",
    ],
)
def test_of_anything_else_nothing_is_known(name: str) -> None:
    """Another registry or namespace may hold anything under the same name."""
    assert lookup(name) is None


def test_of_a_file_that_is_not_listed_the_rest_is_known() -> None:
    """Its size is unknown; what holds for all files of the model, or of its size, is not."""
    found = _known("llama3.1:8b-instruct-q5_0")
    assert (found.size_bytes, found.context_k) == (None, 128)
    assert found.shape == SHAPES["llama3.1:8b"]
    assert _known("phi3:whatever").context_k is None


def test_what_differs_between_files_is_said_of_each() -> None:
    """Sight and context are a file's, not a model's."""
    assert [(_known(name).sees, _known(name).context_k) for name in ("gemma3:1b", "gemma3:4b")] == [
        (False, 32),
        (True, 128),
    ]


@pytest.mark.parametrize(
    ("name", "single"),
    [
        ("nomic-embed-text", "embedding"),
        ("llama3.2-vision", "mllama"),
        ("qwen3-vl:8b", "qwen3vl"),
        ("qwen3.5:9b", "qwen35"),
        ("qwen3-next", "qwen3next"),
        ("lfm2", "lfm2"),
        ("nemotron-3-nano", "nemotron_h"),
        ("llava", None),
        ("qwen3", None),
    ],
)
def test_the_server_takes_some_models_one_request_at_a_time(name: str, single: str | None) -> None:
    """Whatever gives vectors alone, and the architectures that `server/sched.go` names."""
    assert _known(name).single == single


def test_what_only_its_vendor_serves_is_known_as_such() -> None:
    """It has no files; a model with files has none that is hosted."""
    assert _known("kimi-k2.5").hosted
    assert not _known("gpt-oss").hosted
    assert [name for name, entry in ENTRIES.items() if any("cloud" in tag for tag in entry.tags)] == []


@pytest.mark.parametrize(
    ("source", "name", "size_bytes"),
    [
        ({"from": "llama3.2:3b"}, "llama3.2:3b", 2_019_377_376),
        ({"modelfile": "FROM llama3.2:3b\nPARAMETER top_k 1\n"}, "llama3.2:3b", 2_019_377_376),
        ({"from": "llama3.2:3b-instruct-fp16", "quantize": "q8_0"}, "llama3.2:3b-instruct-fp16", None),
    ],
)
def test_a_built_model_can_what_its_base_can(
    source: dict[str, str], name: str, size_bytes: int | None
) -> None:
    """Its size is that of the base too, unless its weights are made anew."""
    found = known(ModelSource.model_validate(source))
    assert found is not None
    assert (found.name, found.size_bytes) == (name, size_bytes)


def test_of_a_file_of_ones_own_nothing_is_known() -> None:
    """Whatever its name is."""
    assert known(ModelSource.model_validate({"from": "s3://bucket/llama3.2.gguf"})) is None


@given(st.text() | st.sampled_from(sorted(ENTRIES)).map(lambda name: f"{name}:x"))
def test_any_name_is_looked_up(name: str) -> None:
    """No text makes the look-up fail."""
    found = lookup(name)
    assert found is None or found.name.partition(":")[0] in ENTRIES
