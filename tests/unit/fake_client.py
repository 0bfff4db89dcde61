"""A client of AWS's SDK that does as it is told."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


class FakeClient:
    """A client that notes each call, and answers or raises what its script has for that method."""

    def __init__(self, **script: object) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._script = {name: iter(answers) for name, answers in script.items() if isinstance(answers, list)}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Any method."""

        def method(**given: Any) -> object:  # noqa: ANN401
            self.calls.append((name, given))
            answer = next(self._script.get(name, iter(())), {})
            if isinstance(answer, Exception):
                raise answer
            return answer

        method.__name__ = name
        return method


def client_error(code: str) -> ClientError:
    """What boto3 raises for a service's answer."""
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "Op")
