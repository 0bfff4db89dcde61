"""Tasks that follow each other: a real worker for each, and the events of one bucket between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.model_queue import object_created
from runtime.worker.keys import job_id
from tests.worker import rig as rigs
from tests.worker.rig import Rig, eventually

if TYPE_CHECKING:
    from tests.worker.scripted_ollama import ScriptedOllama


def _after(before: Rig, ollama_host: str) -> Rig:
    """A rig with a rule of another kind: its documents are the results of the task before."""
    folder = before.folder / "after"
    folder.mkdir()
    rig = rigs.make(before.endpoint, folder, ollama_host)
    arn = rig.client("sqs").get_queue_attributes(QueueUrl=rig.task.queue_url, AttributeNames=["QueueArn"])
    events, rule = rig.client("events"), f"{rig.task.name}-after"
    pattern = object_created(before.task.results_bucket, f"{before.task.name}/")
    events.put_rule(Name=rule, EventPattern=pattern)
    events.put_targets(Rule=rule, Targets=[{"Id": "work", "Arn": arn["Attributes"]["QueueArn"]}])
    chained = {"results_bucket": before.task.results_bucket, "after": before.task.name}
    rig.task = rig.task.model_copy(update=chained)
    return rig


def test_a_chain_ends_under_the_name_of_its_document(rig: Rig, ollama: ScriptedOllama) -> None:
    """Each result is the next task's document, once; records and results of others ask nobody."""
    second = _after(rig, ollama.host)
    third = _after(second, ollama.host)
    chain = (rig, second, third)
    try:
        document = rig.upload("letters/a.txt", b"a letter")
        for task in chain:
            eventually(lambda task=task: task.counts() == (1, 0))
            task.worker()
            eventually(task.is_empty)
        names = [f"{task.task.name}/letters/a.txt" for task in chain]
        assert names[0] == document
        answers = [task.results(name) for task, name in zip(chain, names, strict=True)]
        assert answers == [["about a letter"], ["about about a letter"], ["about about about a letter"]]
        (first,), (middle,), (last,) = (task.records(name) for task, name in zip(chain, names, strict=True))
        assert [each["outcome"] for each in (first, middle, last)] == ["answered"] * 3
        assert middle["document"]["key"] == first["result"]["key"]
        assert last["document"]["key"] == middle["result"]["key"]
        # The version that S3 gave the result before is part of the job: another answer would be another.
        asked = (rig.task.results_bucket, middle["document"]["key"], middle["document"]["version"])
        assert middle["job"] == job_id(*asked, second.task.hash)
        assert [task.counts() for task in chain] == [(0, 0)] * 3
        assert [task.dead_letters() for task in chain] == [[]] * 3
    finally:
        for task in (second, third):
            task.close()
