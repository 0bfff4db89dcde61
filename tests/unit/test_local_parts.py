"""Parts of the local run by themselves: what this machine may do to them."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from cli.computed import REGION
from cli.graph import ROOT, GraphError, evaluate
from cli.local import emulator, outcomes, pods, report, rewrites
from cli.local.errors import LocalError
from cli.local.processes import Process
from runtime.worker.records import DocumentFacts, Record

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)


def test_an_answer_in_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing in a name or an answer is markup."""
    record = Record(
        job="j",
        attempt="a",
        task="t",
        outcome="answered",
        document=DocumentFacts(bucket="b", key="t/[draft] a.txt", version="1", type="text/plain"),
        model="m",
        model_hash="h",
        prompt_hash="p",
        options={},
        receives=1,
        started=NOW,
        ended=NOW,
    )
    report.table([outcomes.Outcome("[draft] a.txt", record, "[/INST] done")], tmp_path)
    shown = capsys.readouterr().out
    assert "[draft]" in shown
    assert "[/INST]" in shown


def test_a_second_ctrl_c_still_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while a process takes its grace time kills what is left of its group."""
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    )
    command = rewrites.Command("stubborn", (sys.executable, "-c", stubborn), {"HOME": str(tmp_path)})
    process = Process(command, tmp_path / "log", tmp_path / "ollama").start()
    process.wait(lambda: (tmp_path / "log").stat().st_size > 0, 20, "ready")
    popen = process._popen  # noqa: SLF001  to interrupt its wait
    assert popen is not None
    wait = popen.wait

    def interrupted(timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait()

    monkeypatch.setattr(popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.stop(60)
    assert process.exit_code == -signal.SIGKILL


def test_the_region_is_the_emulators(tmp_path: Path) -> None:
    """Whatever region a stack is for, its local processes ask the emulator in its own."""
    place = rewrites.Place(tmp_path, tmp_path, 1, 2, "http://aws", {})
    container = {
        "name": "worker",
        "command": ["work"],
        "env": [{"name": "AWS_DEFAULT_REGION", "value": "us-east-1"}],
        "volumeMounts": [],
    }
    assert rewrites.command(container, {"volumes": []}, place).env["AWS_DEFAULT_REGION"] == REGION


def test_a_pods_volumes_are_folders_that_are_there(tmp_path: Path) -> None:
    """Each of its own is made below the run's folder, TMPDIR's among them; only its config has files."""
    graph = evaluate(ROOT / "Pulumi.local.yaml")
    ((_, service),) = pods.models(graph).values()
    urls = [queue.outputs["url"] for queue in graph.of_type("aws:sqs/queue:Queue")]
    place = rewrites.Place(
        tmp_path / "store", tmp_path / "pod", 1, 2, "http://aws", {url: f"http://{url}" for url in urls}
    )
    aws = cast("emulator.Emulator", None)
    pods._make_volumes(  # noqa: SLF001  what `served` does before it starts anything
        pods.Host(graph, aws, place.store, tmp_path, tmp_path / "ollama"), service, place
    )
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    folders = {"store", "pod", "pod/api-token", "pod/config", "pod/home", "pod/scratch"}
    assert found == {*folders, "pod/config/model.json", "pod/config/task.json"}
    pod = service.inputs["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert rewrites.command(worker, pod, place).env["TMPDIR"] == str(tmp_path / "pod" / "scratch")


def test_this_machines_profile_and_proxy_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator is reached with a profile that does not exist and a proxy that nobody runs."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    aws = emulator.start(evaluate(ROOT / "Pulumi.local.yaml"))
    try:
        names = {bucket.get("Name") for bucket in aws.s3.list_buckets()["Buckets"]}
    finally:
        aws.stop()
    assert names >= {"documents-graph", "results-graph"}


@pytest.mark.parametrize("text", ["config: hello", "nothing: here", "config: [1", "\ud800"])
def test_a_file_that_is_no_stack_file_is_told(tmp_path: Path, text: str) -> None:
    """Whatever is in a stack file, the error is a sentence that names it."""
    path = tmp_path / "Pulumi.odd.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(GraphError, match="is not a stack file"):
        evaluate(path)


def test_a_name_that_no_key_can_have_is_told(tmp_path: Path) -> None:
    """A file whose name is not UTF-8 is named before anything starts."""
    (tmp_path / "\udcff.txt").write_text("x")
    with pytest.raises(LocalError, match="is not UTF-8"):
        outcomes.find(tmp_path)
