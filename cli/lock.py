"""`tools/lock`: writes down the digests of what others publish, each with its source and its day.

Program and Dockerfile name images and charts by version, which whoever publishes them could fill anew.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, NamedTuple

import httpx
import typer
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from components import locked
from components.locked import LOCKS, Digest, Lock
from components.versions import (
    CLUSTER_AUTOSCALER,
    CLUSTER_AUTOSCALER_CHART,
    CLUSTER_AUTOSCALER_REPOSITORY,
    KEDA_CHART,
    KEDA_REPOSITORY,
    OLLAMA_IMAGE,
    PYTHON_IMAGE,
)

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = (
    OLLAMA_IMAGE,
    PYTHON_IMAGE,
    *(
        f"ghcr.io/kedacore/{name}:{KEDA_CHART}"
        for name in ("keda", "keda-metrics-apiserver", "keda-admission-webhooks")
    ),
    *(f"registry.k8s.io/autoscaling/cluster-autoscaler:{tag}" for tag in CLUSTER_AUTOSCALER.values()),
)

API_HOSTS = {"docker.io": "registry-1.docker.io"}
"""Where a registry answers under another name than its images have (distribution/reference, docker/cli)."""

MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What an image's tag can stand for (OCI image specification, media types; Docker's own before it)."""

STEP_SECONDS = 30


class Chart(NamedTuple):
    """A Helm chart of a certain version."""

    repository: str
    name: str
    version: str

    def __str__(self) -> str:
        """Its key in the file."""
        return f"{self.repository}/{self.name}:{self.version}"


CHARTS = (
    Chart(KEDA_REPOSITORY, "keda", KEDA_CHART),
    Chart(CLUSTER_AUTOSCALER_REPOSITORY, "cluster-autoscaler", CLUSTER_AUTOSCALER_CHART),
)

WANTED = (*IMAGES, *CHARTS)


class LockError(Exception):
    """A digest is not to be had; the message names image or chart, and why."""


class _Token(BaseModel):
    """What a registry lends to anybody; the specification allows both names."""

    token: str = ""
    access_token: str = ""


class _ChartVersion(BaseModel):
    version: str
    digest: str = ""


class _Index(BaseModel):
    """What a chart repository's index.yaml says, as far as it matters here."""

    entries: dict[str, list[_ChartVersion]]


def client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """The client that registries and chart repositories are asked with.

    Args:
        transport: what answers instead of the network.
    """
    return httpx.Client(
        transport=transport,
        follow_redirects=True,
        timeout=STEP_SECONDS,
        # The system's certificates; httpx would bring certificates of its own.
        verify=ssl.create_default_context(),
    )


def image_lock(http: httpx.Client, image: str, today: date) -> Lock:
    """What an image's tag stands for now, in all of its platforms.

    Raises:
        LockError: the registry has no such image, or answers something else.
    """
    host, _, path = image.partition("/")
    name, _, tag = path.rpartition(":")
    url = f"https://{API_HOSTS.get(host, host)}/v2/{name}/manifests/{tag}"
    accept = {"Accept": ", ".join(MEDIA_TYPES)}
    answer = _get(http, image, url, accept)
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        token = _token(http, image, answer.headers.get("WWW-Authenticate", ""))
        answer = _get(http, image, url, accept | {"Authorization": f"Bearer {token}"})
    _require(image, answer)
    if answer.headers.get("Content-Type") not in MEDIA_TYPES:
        raise LockError(f"{image}: {url} answered something else than a manifest")
    digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    told = answer.headers.get("Docker-Content-Digest", digest)
    if told != digest:
        raise LockError(f"{image}: {url} says {told}, and its answer has {digest}")
    return Lock(digest=digest, source=url, date=today)


def chart_lock(http: httpx.Client, chart: Chart, today: date) -> Lock:
    """The digest of a chart's archive, as its repository's index has it.

    Raises:
        LockError: the index has no such chart, or no digest of it.
    """
    url = f"{chart.repository}/index.yaml"
    answer = _get(http, str(chart), url, {})
    _require(str(chart), answer)
    try:
        versions = _Index.model_validate(yaml.safe_load(answer.content)).entries.get(chart.name, [])
    except (yaml.YAMLError, ValidationError):
        raise LockError(f"{chart}: {url} answered something else than an index") from None
    digests = [each.digest.removeprefix("sha256:") for each in versions if each.version == chart.version]
    if len(digests) != 1:
        raise LockError(f"{chart}: {url} has {len(digests)} charts of that name and version, not one")
    try:
        digest = TypeAdapter(Digest).validate_python(f"sha256:{digests[0]}")
    except ValidationError:
        raise LockError(f"{chart}: {url} gives the digest {digests[0]!r}, which is no sha256") from None
    return Lock(digest=digest, source=url, date=today)


def look_up(http: httpx.Client, today: date) -> tuple[dict[str, Lock], list[str]]:
    """Every lock that is to be had now, and a sentence for each that is not."""
    found: dict[str, Lock] = {}
    problems: list[str] = []
    for wanted in WANTED:
        try:
            lock = (
                chart_lock(http, wanted, today)
                if isinstance(wanted, Chart)
                else image_lock(http, wanted, today)
            )
        except LockError as error:
            problems.append(str(error))
        else:
            found[str(wanted)] = lock
    return found, problems


def run(file: Path = locked.FILE, *, check: bool = False) -> bool:
    """Brings the file up to date, or says where it is not; returns whether it was, or is now.

    A digest that is still the same keeps its day. What cannot be looked up leaves the file as it is.
    """
    known = locked.read(file)
    with client() as http:
        found, problems = look_up(http, datetime.now(UTC).date())
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    locks: dict[str, Lock] = {}
    for name, lock in sorted(found.items()):
        old = known.get(name)
        if old is not None and old.digest == lock.digest:
            locks[name] = old
        else:
            locks[name] = lock
            typer.echo(f"{name}: {lock.digest}, was {old.digest if old else 'not known'}")
    for name in sorted(known.keys() - {str(wanted) for wanted in WANTED}):
        typer.echo(f"{name}: not used any more")
    if problems or check:
        return not problems and locks == known
    file.write_bytes(LOCKS.dump_json(locks, indent=2) + b"\n")
    return True


def _get(http: httpx.Client, what: str, url: str, headers: dict[str, str]) -> httpx.Response:
    try:
        return http.get(url, headers=headers)
    except httpx.HTTPError as error:
        raise LockError(f"{what}: {url} cannot be asked: {str(error) or type(error).__name__}") from None


def _require(what: str, answer: httpx.Response) -> None:
    if not answer.is_success:
        raise LockError(f"{what}: {answer.url} answered {answer.status_code} {answer.reason_phrase}")


def _token(http: httpx.Client, what: str, challenge: str) -> str:
    """What a registry lends to anybody who asks where its challenge says (distribution, auth/token)."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = asked.pop("realm", "")
    if not realm.startswith("https://"):
        raise LockError(f"{what}: its registry wants a login in a way that is not known here: {challenge!r}")
    answer = _get(http, what, str(httpx.URL(realm, params=asked)), {})
    _require(what, answer)
    try:
        given = _Token.model_validate_json(answer.content)
    except ValidationError:
        raise LockError(f"{what}: {realm} answered something else than a token") from None
    return given.token or given.access_token


def main(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a digest is new or another.")
    ] = False,
) -> None:
    """Write the digest that each image and chart has now into components/versions.lock.json."""
    raise typer.Exit(0 if run(check=check) else 1)


if __name__ == "__main__":
    typer.run(main)
