"""How the command fails: one sentence, an exit code that says whether to try again, and nothing published."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.worker.provision.command import refused

if TYPE_CHECKING:
    from tests.worker.provision.command import Command
    from tests.worker.registry import Registry


def test_a_name_that_the_registry_does_not_know_is_final(command: Command, models: Registry) -> None:
    """Exit code 65, and a sentence with the model and the registry."""
    host = f"127.0.0.1:{models.server_port}"
    assert refused(command.run(command.spec(**{"from": models.name("tyni:1b")}))) == (
        os.EX_DATAERR,
        f"registry {host} has no model {host}/library/tyni:1b: correct the name or the tag",
    )
    assert command.staged() == set()


def test_a_registry_that_refuses_connections_may_come_back(command: Command) -> None:
    """Exit code 69, and a sentence with the model, the registry and the reason."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        code, sentence = refused(command.run(command.spec(**{"from": f"http://{host}/library/tiny"})))
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith(f"model {host}/library/tiny cannot be had from registry {host} now: ")
    assert sentence.endswith("connect: connection refused")


@pytest.mark.parametrize(
    "swallowed",
    ["GET /v2/library/tiny/manifests", "HEAD /v2/library/tiny/blobs", "GET /v2/library/tiny/blobs"],
)
def test_a_silent_registry_is_given_up(command: Command, models: Registry, swallowed: str) -> None:
    """Whichever request gets no answer, the run ends after the limit, here 2 s, with exit code 69."""
    models.hang_on = swallowed
    began = time.monotonic()
    code, sentence = refused(command.run(command.spec(**{"from": models.name()}), stall_seconds=2))
    assert 2 <= time.monotonic() - began < 20
    host = f"127.0.0.1:{models.server_port}"
    assert code == os.EX_UNAVAILABLE
    assert sentence == (
        f"registry {host} has sent nothing of model {host}/library/tiny:latest for 2 s: "
        "see that it can be reached from here, then run this again"
    )
    assert command.staged() == set()


def test_wrong_bytes_from_the_registry_are_refused(command: Command, models: Registry) -> None:
    """A blob that is not what its name says fails the run, and nothing is published."""
    models.damaged = True
    spec = command.spec(**{"from": models.name()})
    code, sentence = refused(command.run(spec))
    assert code == os.EX_UNAVAILABLE
    assert "digest mismatch" in sentence
    assert not Path(spec.directory).exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"modelfile": "FROM a\nDRAFT b"}, "Modelfile, line 2: "),
        ({"modelfile": "FROM /no/such.gguf"}, "FROM /no/such.gguf: No such file or directory"),
        ({"modelfile": f"FROM {__file__}"}, "supplied file was not in GGUF format"),
        ({"modelfile": "FROM {gguf}\nTEMPLATE {{ if }}"}, "template error"),
        ({"from": "a model"}, "'a model' is no model name"),
        ({"from": "s3://weights/none.gguf"}, "s3://weights/none.gguf does not exist"),
        ({"from": "s3://nowhere/none.gguf"}, "s3://nowhere/none.gguf does not exist"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_source_that_is_wrong_is_final(
    command: Command, tiny_gguf: Path, source: dict[str, str], says: str
) -> None:
    """Exit code 65, since a Job need not try it again; the sentence says what is wrong with the source."""
    filled = {key: text.replace("{gguf}", str(tiny_gguf)) for key, text in source.items()}
    code, sentence = refused(command.run(command.spec(**filled)))
    assert code == os.EX_DATAERR
    assert says in sentence
    assert command.staged() == set()


def test_an_object_that_is_denied_may_be_allowed_later(command: Command, s3: Any) -> None:  # noqa: ANN401
    """Exit code 69: a new identity takes a while to reach a pod; and S3 may say denied of what is missing."""
    strictness = f"{s3.meta.endpoint_url}/moto-api/reset-auth"
    httpx.post(strictness, content=b"0").raise_for_status()
    try:
        code, sentence = refused(command.run(command.spec(**{"from": "s3://weights/tiny.gguf"})))
    finally:
        httpx.post(strictness, content=b"inf").raise_for_status()
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith("s3://weights/tiny.gguf cannot be read: ")
    assert sentence.endswith("; it may be missing, or this identity may lack s3:GetObject")


def test_an_s3_that_cannot_be_reached_may_come_back(command: Command) -> None:
    """Exit code 69, with the reason."""
    spec = command.spec(**{"from": "s3://weights/tiny.gguf"})
    code, sentence = refused(command.run(spec, AWS_ENDPOINT_URL="http://127.0.0.1:9"))
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith("s3://weights/tiny.gguf cannot be had from S3 now: ")


def test_a_file_system_that_refuses_is_quoted(command: Command) -> None:
    """Exit code 69, and which path was refused for what reason; here a file stands where the store should."""
    command.store.touch()
    code, sentence = refused(command.run(command.spec(**{"from": "tiny"})))
    assert code == os.EX_UNAVAILABLE
    assert sentence.startswith("the file system refuses: [Errno 20] Not a directory: ")
    assert sentence.endswith(": mend that, then run this again")


def test_a_server_that_cannot_start_is_quoted(command: Command) -> None:
    """Exit code 69, with the program's own words."""
    command.program.write_text("#!/bin/sh\necho no home\nexit 3\n")
    assert refused(command.run(command.spec(**{"from": "tiny"}))) == (
        os.EX_UNAVAILABLE,
        "the model server ended at its start with exit code 3; its log ends: no home",
    )


def test_another_program_at_the_server_s_address_is_not_taken_for_it(
    command: Command, models: Registry
) -> None:
    """Exit code 69: whatever answers there would put the model somewhere else."""
    host = f"127.0.0.1:{models.server_port}"
    assert refused(command.run(command.spec(**{"from": "tiny"}), OLLAMA_HOST=host)) == (
        os.EX_UNAVAILABLE,
        f"another program answers at http://{host}: end it, or set OLLAMA_HOST to a free address:port",
    )
