"""The seam's types: what their text is, and what makes one model or one answer another."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime.ollama import modelfile
from runtime.spec import DocumentType, ModelSource, ModelSpec, Options, TaskSpec

SOURCE = ModelSource.model_validate({"from": "tiny"})
MODEL = ModelSpec(source=SOURCE)
TASK = TaskSpec(
    name="a",
    model=MODEL,
    accepts=("text/plain",),
    queue_url="https://queue",
    dead_letter_url="https://dead",
    documents_bucket="documents",
    results_bucket="results",
)

POSITIVE = st.floats(0, 2, allow_subnormal=False)
SHARE = st.floats(0, 1)
OPTIONS = st.builds(
    Options,
    num_ctx=st.integers(128, 1 << 20),
    num_gpu=st.none() | st.integers(0, 99),
    use_mmap=st.booleans(),
    num_predict=st.integers(1, 9999),
    temperature=st.none() | POSITIVE,
    top_p=st.none() | SHARE,
    presence_penalty=st.none() | st.floats(-2, 2),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.none() | st.lists(st.text(), max_size=3).map(tuple),
)
TEXTS = st.text(min_size=1)
SOURCES = (TEXTS.map(lambda text: {"from": text}) | TEXTS.map(lambda text: {"modelfile": text})).map(
    ModelSource.model_validate
)
TASKS = st.builds(
    TASK.model_copy,
    update=st.fixed_dictionaries(
        {
            "options": OPTIONS,
            "prompt": st.text(),
            "model": st.builds(ModelSpec, source=SOURCES, store=TEXTS, wait_seconds=st.integers(1, 9999)),
            "accepts": st.sets(st.sampled_from(get_args(DocumentType)), min_size=1).map(tuple),
        }
    ),
)


@settings(deadline=None)
@given(TASKS)
def test_a_spec_survives_its_json(task: TaskSpec) -> None:
    """What the pods parse is what the program wrote, to the last character of prompt and Modelfile."""
    assert TaskSpec.model_validate_json(task.to_json()) == task
    assert ModelSpec.model_validate_json(task.model.to_json()) == task.model


@settings(deadline=None)
@given(TASKS, st.randoms())
def test_equal_values_have_one_text(task: TaskSpec, random: Any) -> None:  # noqa: ANN401  hypothesis' own
    """The text depends neither on the order of keys nor on how the value came about."""
    written: dict[str, Any] = json.loads(task.to_json())
    keys = list(written)
    random.shuffle(keys)
    again = TaskSpec.model_validate({key: written[key] for key in keys})
    assert (again.to_json(), again.hash) == (task.to_json(), task.hash)


def test_the_text_is_this() -> None:
    """Keys in order, no blanks, Ollama's names, nothing that is unset: hashes of a stack hang on it."""
    spec = ModelSpec(source=ModelSource.model_validate({"modelfile": "FROM ünï"}), store="/m", wait_seconds=1)
    assert spec.to_json() == (
        '{"server_version":"0.24.0","source":{"modelfile":"FROM ünï"},"store":"/m","wait_seconds":1}'
    )
    assert Options(temperature=0, stop=("x",)).to_json() == (
        '{"num_ctx":8192,"num_predict":2048,"stop":["x"],"temperature":0.0,"use_mmap":false}'
    )


@pytest.mark.parametrize(
    ("field", "value", "matters"),
    [
        ("source", ModelSource.model_validate({"from": "other"}), True),
        ("source", ModelSource.model_validate({"modelfile": "tiny"}), True),
        ("server_version", "0.0.1", True),
        ("store", "/elsewhere", False),
        ("wait_seconds", 1, False),
    ],
)
def test_a_model_is_its_source_and_its_server(*, field: str, value: object, matters: bool) -> None:
    """The hash names the directory's content, so where it lies and who waits for it play no part."""
    assert (MODEL.model_copy(update={field: value}).hash != MODEL.hash) is matters


def test_every_field_of_a_model_was_asked() -> None:
    """A field that is added has to say in the test above whether it belongs to the hash."""
    assert ModelSpec.model_fields.keys() == {"source", "server_version", "store", "wait_seconds"}


def test_an_answer_is_its_model_prompt_and_options() -> None:
    """Of all fields of a task these three, and no other, make another version of it."""
    changes: dict[str, object] = {
        "name": "b",
        "model": ModelSpec(source=ModelSource.model_validate({"from": "other"})),
        "prompt": "Why?",
        "options": Options(seed=1),
        "accepts": ("text/csv",),
        "queue_url": "https://other",
        "dead_letter_url": "https://other",
        "documents_bucket": "other",
        "results_bucket": "other",
        "parallel": 2,
        "time_limit_seconds": 1,
        "attempts": 9,
        "visibility_seconds": 30,
        "poll_seconds": 1,
        "grace_seconds": 1,
        "max_document_bytes": 1,
        "health_port": 1,
    }
    assert changes.keys() == TaskSpec.model_fields.keys()
    telling = {
        name for name, value in changes.items() if TASK.model_copy(update={name: value}).hash != TASK.hash
    }
    assert telling == {"model", "prompt", "options"}
    assert TASK.model_copy(update={"model": MODEL.model_copy(update={"store": "/x"})}).hash == TASK.hash


@pytest.mark.parametrize(
    ("source", "pull_name", "plain_http", "reference", "objects"),
    [
        ({"from": "llama3.2:3b"}, "llama3.2:3b", False, "llama3.2:3b", ()),
        ({"from": "host:5000/a/b:c"}, "host:5000/a/b:c", False, "host:5000/a/b:c", ()),
        ({"from": "http://host:5000/a/b"}, "host:5000/a/b", True, "host:5000/a/b", ()),
        ({"from": "s3://models/a.gguf"}, None, False, "built:latest", ("s3://models/a.gguf",)),
        ({"modelfile": "FROM llama3.2:3b"}, None, False, "built:latest", ()),
        (
            {"modelfile": "# s3://x/y\nfrom\ts3://models/dir/a.gguf \nSYSTEM s3://x/z"},
            None,
            False,
            "built:latest",
            ("s3://models/dir/a.gguf",),
        ),
    ],
)
def test_a_source_says_where_its_model_comes_from(
    *,
    source: dict[str, str],
    pull_name: str | None,
    plain_http: bool,
    reference: str,
    objects: tuple[str, ...],
) -> None:
    """A name is pulled, TLS is left out only where that is said, and S3 objects are those of FROM."""
    parsed = ModelSource.model_validate(source)
    assert (parsed.pull_name, parsed.plain_http, parsed.s3_objects) == (pull_name, plain_http, objects)
    assert ModelSpec(source=parsed).reference == reference


@pytest.mark.parametrize(
    "source",
    [
        {"from": "s3://b/k.gguf"},
        {"from": "s3://b/a file.gguf"},
        {"modelfile": "FROM s3://b/k.gguf"},
        {"modelfile": "FROM s3://b/a file.gguf\nSYSTEM x"},
        {"modelfile": "\t from  s3://b/k.gguf\r\nSYSTEM x"},
        {"modelfile": 'FROM "s3://b/k.gguf"'},
        {"modelfile": 'FROM """s3://b/k.gguf"""'},
    ],
)
def test_a_job_may_read_what_it_is_going_to_read(source: dict[str, str]) -> None:
    """The program and the Modelfile's parser find the same object, however it is written."""
    parsed = ModelSource.model_validate(source)
    assert parsed.s3_objects == (modelfile.parse(parsed.modelfile_text).base,)


def test_a_file_in_s3_is_built_by_a_modelfile_of_one_line() -> None:
    """`from: s3://...` is short for a Modelfile that says nothing else."""
    assert ModelSource.model_validate({"from": "s3://b/k"}).modelfile_text == "FROM s3://b/k\n"
    assert ModelSource.model_validate({"modelfile": "FROM x"}).modelfile_text == "FROM x"


def test_the_directory_is_the_hash_below_the_store() -> None:
    """Server and Job find it without asking each other."""
    assert MODEL.directory == PurePosixPath("/models", MODEL.hash)


@pytest.mark.parametrize(
    ("kind", "value", "where"),
    [
        (ModelSource, {"from": "a", "tag": "b"}, "tag"),
        (ModelSpec, {"source": {"from": "a"}, "hash": "b"}, "hash"),
        (Options, {"num_ctxx": 1}, "num_ctxx"),
        (TaskSpec, {**json.loads(TASK.to_json()), "region": "b"}, "region"),
    ],
)
def test_an_unknown_field_is_refused(kind: type[Any], value: dict[str, object], where: str) -> None:
    """A pod of another version does not go on with half of what it was told."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(value)
    assert [(error["type"], error["loc"]) for error in caught.value.errors()] == [
        ("extra_forbidden", (where,))
    ]


@pytest.mark.parametrize("value", [{}, {"from": "a", "modelfile": "FROM a"}])
def test_a_source_is_one_thing(value: dict[str, str]) -> None:
    """Neither none nor two of `from` and `modelfile`."""
    with pytest.raises(ValidationError, match="give exactly one of `from` and `modelfile`"):
        ModelSource.model_validate(value)
