"""A small client of the Kubernetes API: what tests ask of it, with the server's warnings."""

from __future__ import annotations

import json
import re
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tests.cluster.watch import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.watch import OnEvent

Object = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TIMEOUT_SECONDS = 30.0

PROPAGATION = "Foreground"
"""How Pulumi deletes: an object is gone once all that it owns is gone."""


class ApiError(Exception):
    """The server refused a request.

    Attributes:
        status: the HTTP status.
        reason: Kubernetes' own word for it, such as `Conflict`.
    """

    def __init__(self, request: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{request}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server made of an object.

    Attributes:
        object: as it is stored now.
        warnings: what the server's `Warning` headers say.
    """

    object: Object
    warnings: tuple[str, ...]

    @property
    def version(self) -> str:
        """Another one after every change, however small."""
        return self.object["metadata"]["resourceVersion"]


@dataclass
class Api:
    """The API server, as whoever the token says.

    Attributes:
        url: of the server.
        ca: the file with the authority that signed its certificate.
    """

    url: str
    ca: Path
    token: str = field(repr=False)
    _plurals: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Keeps connections open between requests."""
        self._client = httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=str(self.ca)),
            headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )

    def as_bearer(self, token: str) -> Api:
        """The same server, asked by somebody else."""
        return Api(self.url, self.ca, token)

    def close(self) -> None:
        """Lets go of its connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,  # noqa: ANN401  whatever JSON holds
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> httpx.Response:
        """Asks once.

        Raises:
            ApiError: the server said no.
            ConnectionError: it said nothing.
        """
        content = None if body is None else json.dumps(body)
        try:
            response = self._client.request(
                method, path, content=content, headers={"Content-Type": content_type}, params=query
            )
        except httpx.TransportError as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        if response.is_error:
            raise _error(f"{method} {path}", response)
        return response

    def path(self, target: Object, *subresource: str) -> str:
        """The path of an object, or of all of its kind where the target has no name."""
        api_version, kind = target["apiVersion"], target["kind"]
        base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        if (api_version, kind) not in self._plurals:
            for resource in self.request("GET", base).json()["resources"]:
                if "/" not in resource["name"]:
                    found = (resource["name"], resource["namespaced"])
                    self._plurals[api_version, resource["kind"]] = found
        plural, namespaced = self._plurals[api_version, kind]
        metadata = target["metadata"]
        namespace = metadata.get("namespace", "") if namespaced else ""
        parts = (*(("namespaces", namespace) if namespace else ()), plural, metadata.get("name", ""))
        return "/".join(part for part in (base, *parts, *subresource) if part)

    def apply(self, manifest: Object, manager: str, **query: str) -> Answer:
        """Server-side apply, with unknown and doubled fields refused; `force="true"` takes others' fields."""
        return _answer(
            self.request(
                "PATCH",
                self.path(manifest),
                manifest,
                content_type=APPLY,
                fieldManager=manager,
                fieldValidation="Strict",
                **query,
            )
        )

    def create(self, manifest: Object, **query: str) -> Answer:
        """Makes a new object."""
        metadata = {key: value for key, value in manifest["metadata"].items() if key != "name"}
        return _answer(self.request("POST", self.path({**manifest, "metadata": metadata}), manifest, **query))

    def get(self, target: Object) -> Object:
        """The object as it is now."""
        return self.request("GET", self.path(target)).json()

    def find(self, target: Object) -> Object | None:
        """The object as it is now, or None where there is none, of that name or of that kind."""
        try:
            return self.get(target)
        except ApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """All objects of a kind, of one namespace or of all."""
        target = reference(api_version, kind, namespace=namespace)
        return self.request("GET", self.path(target), labelSelector=labels).json()["items"]

    def patch(self, target: Object, change: Object, *subresource: str, **query: str) -> Answer:
        """Merge patch: None takes a field away."""
        path = self.path(target, *subresource)
        return _answer(self.request("PATCH", path, change, content_type=MERGE, **query))

    def delete(self, target: Object, propagation: str = PROPAGATION) -> None:
        """Asks for the object's deletion; what is gone already is gone."""
        try:
            self.request("DELETE", self.path(target), propagationPolicy=propagation)
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    def watch(self, api_version: str, kind: str, on_event: OnEvent) -> Watch:
        """Follows all objects of a kind: those that are there come first, as ADDED."""
        path = self.path(reference(api_version, kind))
        listed = self.request("GET", path).json()
        for item in listed["items"]:
            on_event(time.monotonic(), "ADDED", item)
        return Watch(self._client, path, listed["metadata"]["resourceVersion"], on_event)


def reference(api_version: str, kind: str, name: str = "", namespace: str = "") -> Object:
    """An object that is named and no more, as requests take it."""
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {key: value for key, value in metadata.items() if value},
    }


def condition(found: Object | None, kind: str) -> Object:
    """The condition of that type in an object's status, empty where it has none."""
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def _answer(response: httpx.Response) -> Answer:
    headers = response.headers.get_list("warning")
    # A code, an agent, and the text as a quoted string (RFC 9110, section 5.6.4).
    texts = (found[1] for header in headers if (found := re.fullmatch(r'\d+ \S+ "(.*)"', header, re.DOTALL)))
    return Answer(response.json(), tuple(re.sub(r"\\(.)", r"\1", text) for text in texts))


def _error(request: str, response: httpx.Response) -> ApiError:
    try:
        status = response.json()
    except ValueError:
        status = {}
    message = status.get("message", response.text) if isinstance(status, dict) else response.text
    reason = status.get("reason", "") if isinstance(status, dict) else ""
    return ApiError(request, response.status_code, reason, message)
