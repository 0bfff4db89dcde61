"""The seam's types: what their text is, and what makes one model or one answer another."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError, create_model

from runtime.ollama import modelfile
from runtime.spec import DocumentType, ModelSource, ModelSpec, Options, Sampling, TaskKind, TaskSpec

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
TEXTS = st.text(min_size=1)
OPTIONS = st.builds(
    Options,
    num_ctx=st.integers(128, 1 << 20),
    num_gpu=st.none() | st.integers(0, 99),
    use_mmap=st.booleans(),
    num_predict=st.integers(1, 9999),
    temperature=st.none() | POSITIVE,
    top_p=st.none() | SHARE,
    presence_penalty=st.none() | st.floats(-2, 2),
    seed=st.none() | st.integers(0, 2**32 - 2),
    stop=st.none() | st.lists(TEXTS, max_size=3).map(tuple),
)
SOURCES = (TEXTS.map(lambda text: {"from": text}) | TEXTS.map(lambda text: {"modelfile": text})).map(
    ModelSource.model_validate
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TASKS = st.builds(
    TASK.model_copy,
    update=st.fixed_dictionaries(
        {
            "options": OPTIONS,
            "prompt": st.text(),
            "system": st.text(),
            "think": st.sampled_from([None, True, False, "low", "medium", "high"]),
            "output_schema": st.none() | st.dictionaries(st.text(), JSON, max_size=3),
            "task": st.sampled_from(get_args(TaskKind)),
            "long_documents": st.sampled_from(["refuse", "split"]),
            "model": st.builds(ModelSpec, source=SOURCES, store=TEXTS, wait_seconds=st.integers(1, 9999)),
            "accepts": st.sets(st.sampled_from(get_args(DocumentType)), min_size=1).map(tuple),
        }
    ),
)


@settings(deadline=None)
@given(TASKS)
def test_a_spec_survives_its_json(task: TaskSpec) -> None:
    """What the pods parse is what the program wrote, to the last character, and each null of a schema."""
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
    """Keys as declared, no blanks, Ollama's names, nothing that is unset: hashes of a stack hang on it."""
    spec = ModelSpec(source=ModelSource.model_validate({"modelfile": "FROM ünï"}), store="/m", wait_seconds=1)
    assert spec.to_json() == (
        '{"source":{"modelfile":"FROM ünï"},"server_version":"0.24.0","store":"/m","wait_seconds":1}'
    )
    assert Options(temperature=0, stop=("x",)).to_json() == (
        '{"temperature":0.0,"stop":["x"],"num_ctx":8192,"use_mmap":false,"num_predict":2048}'
    )


def test_a_schema_keeps_its_order() -> None:
    """The model writes properties in the schema's order, so another order is another question."""
    one, other = ({"properties": dict.fromkeys(names, True)} for names in ("ba", "ab"))
    first, second = (TASK.model_copy(update={"output_schema": schema}) for schema in (one, other))
    assert list(TaskSpec.model_validate_json(first.to_json()).output_schema["properties"]) == ["b", "a"]  # type: ignore[index, arg-type]
    assert first.hash != second.hash


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


def test_an_answer_is_its_model_and_what_it_is_asked() -> None:
    """Of all fields of a task these eight, and no other, make another version of it."""
    changes: dict[str, object] = {
        "name": "b",
        "model": ModelSpec(source=ModelSource.model_validate({"from": "other"})),
        "prompt": "Why?",
        "system": "Be brief.",
        "options": Options(seed=1),
        "think": False,
        "output_schema": {},
        "task": "embed",
        "long_documents": "split",
        "accepts": ("text/csv",),
        "gpus": 1,
        "queue_url": "https://other",
        "dead_letter_url": "https://other",
        "documents_bucket": "other",
        "results_bucket": "other",
        "after": "other",
        "parallel": 2,
        "time_limit_seconds": 1,
        "attempts": 9,
        "retry_seconds": 1,
        "max_instances": 2,
        "visibility_seconds": 30,
        "poll_seconds": 2,
        "grace_seconds": 1,
        "max_text_bytes": 1,
        "max_file_bytes": 1,
        "health_port": 1,
    }
    assert changes.keys() == TaskSpec.model_fields.keys()
    telling = {
        name for name, value in changes.items() if TASK.model_copy(update={name: value}).hash != TASK.hash
    }
    assert telling == {
        "model",
        "prompt",
        "system",
        "options",
        "think",
        "output_schema",
        "task",
        "long_documents",
    }
    assert all(value != getattr(TASK, name) for name, value in changes.items())
    assert TASK.model_copy(update={"model": MODEL.model_copy(update={"store": "/x"})}).hash == TASK.hash


def test_every_value_of_a_question_is_told_apart() -> None:
    """Not thinking is not the model's own way of thinking, and any JSON is not no schema."""
    asked: list[dict[str, object]] = [
        *({"think": think} for think in (None, True, False, "low", "medium", "high")),
        *({"output_schema": schema} for schema in ({}, {"const": None}, {"const": 0}, {"const": "null"})),
        *({"options": Options(temperature=value)} for value in (0, 0.5)),
        *({"prompt": text} for text in ("a", "a ")),
        *({"system": text} for text in ("a", "a ")),
    ]
    assert len({TASK.model_copy(update=changes).hash for changes in asked}) == len(asked)


# It names the server, so that a release with another one, which is a new answer, leaves this value alone.
PINNED = TASK.model_copy(
    update={"model": MODEL.model_copy(update={"server_version": "0.24.0"}), "prompt": "Why?"}
)


def test_a_release_keeps_the_hash_of_every_task() -> None:
    """The value is pinned: where it changes, every job id does, and all documents would be answered again."""
    assert PINNED.hash == "3c0147324a619990750921676a796b30cee21e5fdcd3ce4c47db8d70f0a8cacb"


def test_a_field_that_a_release_adds_changes_no_hash_while_it_is_unset() -> None:
    """Neither an option nor a field of the task does, so long as its default is None."""
    options = create_model("LaterOptions", __base__=Options, typical_p=(float | None, None))
    later = create_model("LaterTask", __base__=TaskSpec, options=(options, options()))
    values = dict(PINNED) | {"options": options()}
    assert later.model_validate(values).hash == PINNED.hash
    assert (
        later.model_validate(values | {"options": options.model_validate({"typical_p": 0.5})}).hash
        != PINNED.hash
    )


def test_a_hash_is_over_what_is_set() -> None:
    """Model and question as JSON; what is None is not in it, what is empty is."""
    question = {
        "model": MODEL.hash,
        "prompt": "",
        "system": "",
        "options": {"num_ctx": 8192, "num_predict": 2048, "use_mmap": False},
        "task": "generate",
        "long_documents": "refuse",
    }
    assert TASK.hash == hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def test_a_prompt_is_recorded_by_both_of_its_texts() -> None:
    """The hash that records carry tells prompt from system text, and neither runs into the other."""
    texts = [("", ""), ("a", ""), ("", "a"), ("a", "a"), ("aa", "")]
    tasks = [TASK.model_copy(update={"prompt": prompt, "system": system}) for prompt, system in texts]
    assert len({task.prompt_hash for task in tasks}) == len(texts)
    assert TASK.model_copy(update={"options": Options(seed=1)}).prompt_hash == TASK.prompt_hash


TEXT, JSON_FILE = (".txt", "text/plain; charset=utf-8"), (".json", "application/json")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, TEXT),
        ({"long_documents": "split"}, TEXT),
        ({"output_schema": {}}, JSON_FILE),
        ({"output_schema": {"type": "object"}}, JSON_FILE),
        ({"task": "embed"}, JSON_FILE),
    ],
)
def test_a_result_is_text_or_json(changes: dict[str, object], kind: tuple[str, str]) -> None:
    """JSON where a schema, if only an empty one, or vectors are asked for; UTF-8 text everywhere else."""
    assert TASK.model_copy(update=changes).result_type == kind


RUNNER = {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"}
"""`api.Runner` of Ollama 0.24: what makes it load the model again, under everybody's requests."""


def test_what_one_document_may_ask_for_loads_no_model_again() -> None:
    """Sampling is exactly these: it has no runner option, and no limit of the answer's length."""
    assert Sampling.model_fields.keys() & RUNNER == set()
    assert Options.model_fields.keys() - Sampling.model_fields.keys() == {
        *(RUNNER - {"main_gpu"}),
        "num_predict",
    }
    assert Sampling.model_fields.keys() == {
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "repeat_last_n",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "stop",
    }
    assert all(field.default is None for field in Sampling.model_fields.values())


def test_the_wire_has_what_is_set_under_ollamas_names() -> None:
    """What nobody set stays with the model: only the window, the length and mmap always have a value."""
    assert Options().wire() == {"num_ctx": 8192, "num_predict": 2048, "use_mmap": False}
    assert Options(temperature=0, seed=0, stop=(), num_gpu=0).wire() == {
        "num_ctx": 8192,
        "num_predict": 2048,
        "use_mmap": False,
        "temperature": 0.0,
        "seed": 0,
        "stop": [],
        "num_gpu": 0,
    }


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
        *((Sampling, {name: 1}, name) for name in sorted({*RUNNER, "num_predict"})),
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
