"""The harness itself: what dies is seen with its last words, and nothing outlives the run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster import tools
from tests.cluster.processes import ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTS_TWO_AND_WAITS = """
import sys, time
from pathlib import Path
from tests.cluster.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    for name in ("one", "two"):
        processes.start(name, "/bin/sh", "-c", "echo $$; sleep 600 & wait")
    while not all(processes.read_log(name) for name in ("one", "two")):
        time.sleep(0.05)
    print(*(processes.read_log(name).strip() for name in ("one", "two")), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """None yet."""
    with Processes(tmp_path) as made:
        yield made


def test_a_run_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    """Not even by SIGKILL of its whole process group, and not a child of what it started either."""
    command = [sys.executable, "-c", STARTS_TWO_AND_WAITS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout
        groups = [int(pid) for pid in run.stdout.readline().split()]
        assert [len(_of_group(group)) for group in groups] == [2, 2]
        os.killpg(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(_of_group(group) for group in groups):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_ends_by_itself_is_an_error_with_the_end_of_its_log(processes: Processes) -> None:
    """Whatever is waited for, the wait ends at once and says why."""
    processes.start("short", "/bin/sh", "-c", "echo started; echo out of luck >&2; exit 3")
    with pytest.raises(
        ProcessError, match=r"(?s)short ended with 3; its log is .*/short\.log and .*out of luck"
    ):
        processes.wait_for("the end of time", lambda: False, seconds=30)


def test_what_does_not_come_in_time_is_an_error_with_what_was_seen(processes: Processes) -> None:
    """It names what was waited for, and shows the log of whoever should have brought it."""
    processes.start("silent", "/bin/sh", "-c", "echo I am here; sleep 600")
    processes.wait_for("its first line", lambda: processes.read_log("silent"), seconds=20)
    with pytest.raises(ProcessError, match=r"(?s)not within 0 s: a sign \(last seen: 0\); .*I am here"):
        processes.wait_for("a sign", lambda: 0, seconds=0.2, log_of="silent")


def test_what_was_stopped_can_be_started_again(processes: Processes) -> None:
    """A stopped process is no process that ended, and keeps its log when it comes back."""
    processes.start("again", "/bin/sh", "-c", "echo line; sleep 600")
    processes.wait_for("its line", lambda: processes.read_log("again") == "line\n", seconds=20)
    processes.stop("again")
    processes.check()
    processes.restart("again")
    processes.wait_for("its second line", lambda: processes.read_log("again") == "line\n" * 2, seconds=20)


def test_the_control_plane_is_of_the_version_that_a_stack_gets() -> None:
    """What is proved here is proved of the Kubernetes and the KEDA that the program asks for."""
    pins = Path(tools.__file__).parent.parent.parent / "tools"
    assert f"k8s.io/kubernetes v{tools.KUBERNETES_TOOL.version}" in (pins / "kubernetes/go.mod").read_text()
    assert re.search(
        rf"github.com/kedacore/keda/v2 v{re.escape(tools.KEDA_TOOL.version)}",
        (pins / "keda/go.mod").read_text(),
    )


def _of_group(group: int) -> list[str]:
    """Process ids of a process group."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pgid=,pid=,stat="], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return [pid for pgid, pid, stat in rows if int(pgid) == group and not stat.startswith("Z")]
