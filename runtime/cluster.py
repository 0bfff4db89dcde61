"""The API server of the cluster that this pod runs in, for containers that have a token for it."""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and the cluster's CA."""

CLIENT = "ollama-eks"
REQUEST_SECONDS = 5.0


class ClusterError(Exception):
    """The API server refused, or could not be asked; the message says why.

    Attributes:
        status: of its answer; None where none came.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Cluster:
    """The API server, and what it knows this pod by.

    Attributes:
        url: of the API server.
        token: the file with the token, read for each call because the kubelet renews it.
        trust: the cluster's CA.
    """

    url: str
    token: Path
    trust: ssl.SSLContext

    async def call(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        merge_patch: Mapping[str, object] | None = None,
    ) -> bytes:
        """Makes one call, once: the body of its answer.

        Args:
            method: of HTTP.
            path: as of `api/v1/namespaces/<namespace>/pods/<name>`.
            parameters: the query.
            merge_patch: what a PATCH changes, and nothing else (RFC 7386).

        Raises:
            ClusterError: it was refused, or no answer came.
        """
        try:
            # The client's name is the field manager of what it changes, too.
            headers = {"Authorization": f"Bearer {self.token.read_text().strip()}", "User-Agent": CLIENT}
            if merge_patch is not None:
                headers["Content-Type"] = "application/merge-patch+json"
            # A client for each call: they are rare, and a connection kept would be dead by the next.
            async with httpx.AsyncClient(
                verify=self.trust, trust_env=False, timeout=REQUEST_SECONDS
            ) as client:
                answer = await client.request(
                    method,
                    f"{self.url}/{path}",
                    params=parameters,
                    content=None if merge_patch is None else json.dumps(merge_patch),
                    headers=headers,
                )
            return answer.raise_for_status().content
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise ClusterError(
                f"the API server answered {status}: {_words(error.response)}", status
            ) from error
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise ClusterError(f"{type(error).__name__}: {error}") from error


def _words(refusal: httpx.Response) -> str:
    """The message of Kubernetes' own `Status`, or whatever else came."""
    try:
        return str(refusal.json()["message"])
    except (ValueError, KeyError, TypeError):
        return refusal.text[:500]


def connect(environment: Mapping[str, str] = os.environ, credentials: Path = CREDENTIALS) -> Cluster | None:
    """The cluster, or None outside of one, and where the pod is not given a token."""
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    token, authority = credentials / "token", credentials / "ca.crt"
    if not (host and port and token.exists() and authority.exists()):
        return None
    where = f"[{host}]" if ":" in host else host
    return Cluster(
        url=f"https://{where}:{port}",
        token=token,
        trust=ssl.create_default_context(cafile=str(authority)),
    )
