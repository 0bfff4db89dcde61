"""The way to the API server: whom it trusts, what it sends, and what it makes of refusals."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest

from runtime.cluster import ClusterError, connect
from tests.unit.in_cluster.api_server import Request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.in_cluster.api_server import ApiServer

ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.100.0.1", "KUBERNETES_SERVICE_PORT": "443"}


async def test_a_call_is_what_was_asked_for_with_the_token_of_that_moment(
    api: ApiServer, credentials: Path
) -> None:
    """Method, path, query and body are as given; the kubelet renews the token, and the next call has it."""
    api.answer = lambda _: (200, b"an answer")
    assert (
        await api.cluster.call("GET", "apis/x", parameters={"limit": "1", "continue": "a/b="}) == b"an answer"
    )
    (credentials / "token").write_text("second\n")
    await api.cluster.call("PATCH", "api/y", merge_patch={"a": None})
    await api.cluster.call("DELETE", "api/y")
    assert api.requests == [
        Request("GET", "/apis/x?limit=1&continue=a%2Fb%3D", "Bearer first", None, b""),
        Request("PATCH", "/api/y", "Bearer second", "application/merge-patch+json", b'{"a": null}'),
        Request("DELETE", "/api/y", "Bearer second", None, b""),
    ]


@pytest.mark.parametrize("status", [302, 403, 500])
async def test_a_refusal_says_why_and_is_not_asked_again(api: ApiServer, status: int) -> None:
    """What the API server answers is in the error, its status too; whoever asks knows whether to go on."""
    api.refuse(status)
    with pytest.raises(ClusterError) as caught:
        await api.cluster.call("GET", "apis/x")
    assert (str(caught.value), caught.value.status) == (f"the API server answered {status}: why", status)
    assert len(api.requests) == 1


@pytest.mark.parametrize("answer", [b"bad gateway", b"[]", b'"bad"', b"{}"])
async def test_a_refusal_that_is_not_kubernetes_own_is_quoted(api: ApiServer, answer: bytes) -> None:
    """Something between may have answered."""
    api.answer = lambda _: (502, answer)
    with pytest.raises(ClusterError) as caught:
        await api.cluster.call("GET", "apis/x")
    assert str(caught.value) == f"the API server answered 502: {answer.decode()}"


async def test_only_the_cluster_s_own_api_server_is_trusted(api: ApiServer) -> None:
    """A server whose certificate the mounted CA did not sign never sees the token."""
    stranger = dataclasses.replace(api.cluster, trust=ssl.create_default_context())
    with pytest.raises(ClusterError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await stranger.call("GET", "apis/x")
    assert caught.value.status is None
    assert api.requests == []


async def test_whatever_is_missing_is_one_kind_of_error(api: ApiServer, credentials: Path) -> None:
    """A server that is gone, a token that is gone, and a path that is none."""
    nowhere = dataclasses.replace(api.cluster, url="https://127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"^ConnectError: "):
        await nowhere.call("GET", "apis/x")
    with pytest.raises(ClusterError, match=r"^InvalidURL: "):
        await api.cluster.call("GET", "apis/x\n")
    here = api.cluster
    (credentials / "token").unlink()
    with pytest.raises(ClusterError, match=r"^FileNotFoundError: "):
        await here.call("GET", "apis/x")
    assert api.requests == []


@pytest.mark.usefixtures("api")
def test_outside_of_a_cluster_there_is_none(credentials: Path, tmp_path: Path) -> None:
    """Any variable or file that is missing or empty means None; with all of them there is a cluster."""
    assert connect(ENVIRONMENT, credentials) is not None
    assert [connect({**ENVIRONMENT, name: ""}, credentials) for name in ENVIRONMENT] == [None] * 2
    assert connect({}, credentials) is None
    for name in ("token", "ca.crt"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes((credentials / name).read_bytes())
        assert connect(ENVIRONMENT, folder) is None


@pytest.mark.usefixtures("api")
def test_an_api_server_on_ipv6_is_found(credentials: Path) -> None:
    """Kubernetes gives the address bare; a URL needs brackets."""
    found = connect({**ENVIRONMENT, "KUBERNETES_SERVICE_HOST": "fd00::1"}, credentials)
    assert found is not None
    assert found.url == "https://[fd00::1]:443"
