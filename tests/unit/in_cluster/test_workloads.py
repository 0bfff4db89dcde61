"""The roots that a cluster's workloads name: all of them, or none and a sentence."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.command import CommandError
from runtime.ollama.workloads import listed, models

if TYPE_CHECKING:
    from tests.unit.in_cluster.api_server import ApiServer, Request

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
DEPLOYMENTS = "apis/apps/v1/namespaces/ollama/deployments"
JOBS = "apis/batch/v1/namespaces/ollama-models/jobs"
NOTHING = "; nothing was removed"
NO_HASH = "which is no model's hash (64 hexadecimal digits)"


def _workload(name: str, **annotations: str) -> dict[str, Any]:
    """As the API server has it, with what this leaves alone around it."""
    metadata = {"creationTimestamp": None} | ({"annotations": annotations} if annotations else {})
    template = {"metadata": metadata, "spec": {"containers": []}}
    return {
        "metadata": {"name": name, "uid": "1"},
        "spec": {"replicas": 0, "template": template},
        "status": {},
    }


def _needs(name: str, model: str) -> dict[str, Any]:
    return _workload(name, **{"ollama-eks/model": model, "other": "x"})


def _list(*items: dict[str, Any], more: str | None = None) -> bytes:
    metadata = {"resourceVersion": "7"} | ({"continue": more, "remainingItemCount": 1} if more else {})
    return json.dumps({"kind": "DeploymentList", "metadata": metadata, "items": items}).encode()


class Pauses:
    """Sleeps that take no time."""

    def __init__(self) -> None:
        self.seconds = list[float]()

    async def __call__(self, seconds: float) -> None:
        """Notes it."""
        self.seconds.append(seconds)


def test_the_models_of_all_lists_are_roots(api: ApiServer) -> None:
    """Once each; what has no annotation is no model's. A list without workloads is a good answer, too."""
    lists = {
        f"/{DEPLOYMENTS}": _list(
            _needs("letters", A), _needs("bills", B), _workload("other"), _needs("again", A)
        ),
        f"/{JOBS}": _list(_needs("model-c", C)),
        "/apis/apps/v1/namespaces/ollama/replicasets": _list(),
    }
    api.answer = lambda request: (200, lists[urlsplit(request.path).path])
    assert models(api.cluster, [DEPLOYMENTS, f"/{JOBS}", "apis/apps/v1/namespaces/ollama/replicasets"]) == {
        A,
        B,
        C,
    }
    assert models(api.cluster, ["apis/apps/v1/namespaces/ollama/replicasets"]) == set()
    assert {(request.method, request.authorization) for request in api.requests} == {("GET", "Bearer first")}


async def test_a_list_of_many_pages_is_read_to_its_end(api: ApiServer) -> None:
    """Each page is asked for with the token that the last one gave, whatever is in it."""
    pages = {"": _list(_needs("1", A), more="x/y=="), "x/y==": _list(more="z"), "z": _list(_needs("3", C))}
    asked: list[dict[str, list[str]]] = []

    def answer(request: Request) -> tuple[int, bytes]:
        query = parse_qs(urlsplit(request.path).query)
        asked.append(query)
        return 200, pages[query.get("continue", [""])[0]]

    api.answer = answer
    assert await listed(api.cluster, DEPLOYMENTS) == {A, C}
    assert asked == [
        {"limit": ["500"]},
        {"limit": ["500"], "continue": ["x/y=="]},
        {"limit": ["500"], "continue": ["z"]},
    ]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_api_server_in_trouble_is_asked_again(api: ApiServer, status: int) -> None:
    """Half a minute long, then it is a sentence for a later try (69)."""
    pauses = Pauses()
    api.answer = lambda _: (status, b"") if len(api.requests) < 4 else (200, _list(_needs("1", A)))
    assert await listed(api.cluster, DEPLOYMENTS, pauses) == {A}
    assert pauses.seconds == [1, 2, 4]
    api.refuse(status)
    with pytest.raises(CommandError) as caught:
        await listed(api.cluster, DEPLOYMENTS, pauses)
    assert pauses.seconds[3:] == [1, 2, 4, 8, 16]
    assert caught.value.exit_code == os.EX_UNAVAILABLE


async def test_a_page_that_fails_in_the_end_spoils_all_that_came_before(api: ApiServer) -> None:
    """Half of the roots would be worse than none."""
    api.answer = lambda _: (
        (200, _list(_needs("1", A), more="x")) if len(api.requests) == 1 else (410, b"expired")
    )
    with pytest.raises(CommandError) as caught:
        await listed(api.cluster, DEPLOYMENTS)
    assert (caught.value.exit_code, str(caught.value)) == (
        os.EX_UNAVAILABLE,
        f"{DEPLOYMENTS} cannot be listed: the API server answered 410: expired; nothing was removed",
    )
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, os.EX_NOPERM), (403, os.EX_NOPERM), (404, os.EX_DATAERR), (400, os.EX_UNAVAILABLE)],
)
def test_a_list_that_is_refused_is_named(api: ApiServer, status: int, code: int) -> None:
    """At once, with the API server's own words; the code says whose fault it is."""
    api.refuse(status)
    with pytest.raises(CommandError) as caught:
        models(api.cluster, [DEPLOYMENTS, JOBS])
    assert (caught.value.exit_code, str(caught.value)) == (
        code,
        f"{DEPLOYMENTS} cannot be listed: the API server answered {status}: why{NOTHING}",
    )
    assert len(api.requests) == 1


@pytest.mark.parametrize("model", ["", "llama3", A[:-1], A.upper(), f"{A}\n", f"/models/{A}"])
def test_an_annotation_that_is_no_hash_is_an_error_that_names_its_object(api: ApiServer, model: str) -> None:
    """Whoever wrote it needs some model, and this cannot tell which."""
    api.answer = lambda _: (200, _list(_needs("good", A), _needs("bad", model)))
    with pytest.raises(CommandError) as caught:
        models(api.cluster, [DEPLOYMENTS])
    assert (caught.value.exit_code, str(caught.value)) == (
        os.EX_DATAERR,
        f"the pod template of {DEPLOYMENTS}/bad has ollama-eks/model: {model!r}, {NO_HASH}{NOTHING}",
    )


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        (b"<html>", "top level"),
        (b"{}", "metadata"),
        (b'{"metadata": {}}', "items"),
        (b'{"metadata": {}, "items": null}', "items"),
        # A list of something else, and a single object.
        (b'{"metadata": {}, "items": [{"metadata": {"name": "c"}, "data": {}}]}', r"items\.0\.spec"),
        (
            b'{"metadata": {}, "items": [{"metadata": {"name": "p"}, "spec": {}}]}',
            r"items\.0\.spec\.template",
        ),
        (json.dumps(_needs("letters", A)).encode(), "items"),
    ],
)
def test_what_is_no_list_of_workloads_is_refused(api: ApiServer, answer: bytes, where: str) -> None:
    """Never taken for a list of none."""
    api.answer = lambda _: (200, answer)
    with pytest.raises(
        CommandError,
        match=rf"^{DEPLOYMENTS} is no list of workloads with pod templates: {where}: .*; nothing was",
    ) as caught:
        models(api.cluster, [DEPLOYMENTS])
    assert caught.value.exit_code == os.EX_DATAERR


async def test_an_api_server_that_does_not_answer_is_asked_again(api: ApiServer) -> None:
    """As one that is in trouble (69)."""
    pauses = Pauses()
    with pytest.raises(CommandError, match=rf"^{DEPLOYMENTS} cannot be listed: ConnectError: ") as caught:
        await listed(dataclasses.replace(api.cluster, url="https://127.0.0.1:1"), DEPLOYMENTS, pauses)
    assert caught.value.exit_code == os.EX_UNAVAILABLE
    assert pauses.seconds == [1, 2, 4, 8, 16]


def test_without_a_cluster_or_a_token_there_is_nobody_to_ask() -> None:
    """Exit code 77, and where a token should be."""
    with pytest.raises(CommandError, match=r"there is none at /var/run/secrets/kubernetes\.io/") as caught:
        models(None, [DEPLOYMENTS])
    assert caught.value.exit_code == os.EX_NOPERM
