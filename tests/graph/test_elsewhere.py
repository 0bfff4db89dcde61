"""The program in another account, region and partition: nothing of where it was written is left in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cli import computed
from cli.graph import Graph, evaluate
from tests.graph.stacks import DEV, STACKS

if TYPE_CHECKING:
    from pathlib import Path

MOVED = {
    computed.ACCOUNT: "999988887777",
    computed.REGION: "cn-north-1",
    "arn:aws:": "arn:aws-cn:",
    "amazonaws.com/": "amazonaws.com.cn/",
}
"""Of this graph's own surroundings, what stands for each of them in China."""


def _moved(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    if isinstance(value, dict):
        return {key: _moved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item) for item in value]
    if isinstance(value, str):
        for here, there in MOVED.items():
            value = value.replace(here, there)
    return value


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """The production stack, where every provider answers from China."""
    for token, row in computed.COMPUTED.items():
        monkeypatch.setitem(computed.COMPUTED, token, lambda name, inputs, row=row: _moved(row(name, inputs)))
    for token, answer in computed.INVOKES.items():
        moved = (lambda inputs, answer=answer: _moved(answer(inputs))) if callable(answer) else _moved(answer)
        monkeypatch.setitem(computed.INVOKES, token, moved)
    monkeypatch.setitem(
        computed.INVOKES,
        "aws:index/getPartition:getPartition",
        {"partition": "aws-cn", "dnsSuffix": "amazonaws.com.cn"},
    )
    file = tmp_path / DEV.name
    file.write_text(yaml.safe_dump(_moved(yaml.safe_load(DEV.read_text()))))
    return evaluate(file, _moved(STACKS["production"][1]))


def test_nothing_is_bound_to_a_place(elsewhere: Graph) -> None:
    """No account, region or partition is written into the program."""
    here = (computed.ACCOUNT, computed.REGION, "arn:aws:")
    left = {
        f"{resource.type} {resource.name}: {place}"
        for resource in elsewhere.resources.values()
        for place, value in resource.inputs.items()
        if any(each in json.dumps(value) for each in here)
    }
    assert left == set()
    assert not any(each in json.dumps(elsewhere.exports) for each in here)


def test_a_key_admits_the_services_of_its_partition(elsewhere: Graph) -> None:
    """CloudWatch Logs has another name there, and roles ask through services of another name."""
    (key,) = elsewhere.of_type("aws:kms/key:Key")
    principals = [statement["Principal"] for statement in json.loads(key.inputs["policy"])["Statement"]]
    assert {"Service": "logs.cn-north-1.amazonaws.com.cn"} in principals
    assert {"Service": "events.amazonaws.com"} in principals
    rights = json.loads(elsewhere.one("aws:iam/rolePolicy:RolePolicy", "summarize").inputs["policy"])
    (through,) = (
        each["Condition"]["StringEquals"]["kms:ViaService"]
        for each in rights["Statement"]
        if "kms:Decrypt" in each["Action"]
    )
    assert through == ["s3.cn-north-1.amazonaws.com.cn", "sqs.cn-north-1.amazonaws.com.cn"]
