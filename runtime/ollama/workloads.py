"""The models that workloads of the cluster name: the garbage collector's roots."""

from __future__ import annotations

import asyncio
import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, Field, ValidationError

from runtime.cluster import CREDENTIALS, Cluster, ClusterError
from runtime.command import CommandError
from runtime.spec import MODEL_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = structlog.get_logger()

PAGE = 500
"""Objects in one answer; kubectl's own `--chunk-size`."""

RETRY_SECONDS = (1, 2, 4, 8, 16)
"""Pauses of one call: half a minute, in which an API server is replaced."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NOTHING_REMOVED = "; nothing was removed"


class _Metadata(BaseModel):
    name: str = ""
    annotations: dict[str, str] = {}


class _Template(BaseModel):
    metadata: _Metadata = _Metadata()


class _Spec(BaseModel):
    template: _Template


class _Workload(BaseModel):
    metadata: _Metadata
    spec: _Spec


class _PageMetadata(BaseModel):
    more: str = Field(default="", alias="continue")


class _Page(BaseModel):
    """One answer to a list: of Deployments, ReplicaSets or Jobs, which all have a pod template."""

    metadata: _PageMetadata
    items: list[_Workload]


def models(cluster: Cluster | None, paths: Sequence[str]) -> set[str]:
    """The hashes of all models that pod templates of these lists are annotated with.

    A workload without the annotation needs no model of the store.

    Args:
        cluster: whose API server is asked.
        paths: of lists, as `apis/apps/v1/namespaces/<namespace>/deployments`.

    Raises:
        CommandError: not all of them can be had: no token or no right to list (`os.EX_NOPERM`), no list of
            workloads or an annotation that is no hash (`os.EX_DATAERR`), or else `os.EX_UNAVAILABLE`.
    """
    if cluster is None:
        sentence = (
            "roots of workloads are asked of a cluster's API server, by a pod that has a token: there is "
            f"none at {CREDENTIALS}, or no KUBERNETES_SERVICE_HOST and _PORT{_NOTHING_REMOVED}"
        )
        raise CommandError(sentence, os.EX_NOPERM)
    return asyncio.run(_models(cluster, paths))


async def _models(cluster: Cluster, paths: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        named = await listed(cluster, path.strip("/"))
        log.info("roots", path=path, models=len(named))
        found |= named
    return found


async def listed(
    cluster: Cluster, path: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> set[str]:
    """The models that the workloads of one list name. Raises as `models` does.

    Args:
        cluster: whose API server is asked.
        path: of the list.
        sleep: waits for so many seconds.
    """
    found, more = set[str](), ""
    while True:
        page = await _page(cluster, path, more, sleep)
        for workload in page.items:
            model = workload.spec.template.metadata.annotations.get(MODEL_ANNOTATION)
            if model is None:
                continue
            if not _HASH.fullmatch(model):
                sentence = (
                    f"the pod template of {path}/{workload.metadata.name} has {MODEL_ANNOTATION}: {model!r}, "
                    f"which is no model's hash (64 hexadecimal digits){_NOTHING_REMOVED}"
                )
                raise CommandError(sentence, os.EX_DATAERR)
            found.add(model)
        more = page.metadata.more
        if not more:
            return found


async def _page(cluster: Cluster, path: str, more: str, sleep: Callable[[float], Awaitable[None]]) -> _Page:
    pauses, parameters = [*RETRY_SECONDS], {"limit": str(PAGE)} | ({"continue": more} if more else {})
    while True:
        try:
            return _Page.model_validate_json(await cluster.call("GET", path, parameters=parameters))
        except ClusterError as error:
            if not (pauses and _may_mend(error)):
                sentence = f"{path} cannot be listed: {error}{_NOTHING_REMOVED}"
                raise CommandError(sentence, _exit_code(error)) from error
            pause = pauses.pop(0)
            log.warning("trying again", seconds=pause, path=path, reason=str(error))
            await sleep(pause)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"])) or "top level"
            sentence = (
                f"{path} is no list of workloads with pod templates: {where}: {problem['msg']}"
                f"{_NOTHING_REMOVED}"
            )
            raise CommandError(sentence, os.EX_DATAERR) from error


def _may_mend(error: ClusterError) -> bool:
    """Whether asking again soon may help: there was no answer, too much was asked, or it has troubles."""
    return (
        error.status is None
        or error.status == HTTPStatus.TOO_MANY_REQUESTS
        or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _exit_code(error: ClusterError) -> int:
    if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return os.EX_NOPERM
    return os.EX_DATAERR if error.status == HTTPStatus.NOT_FOUND else os.EX_UNAVAILABLE
