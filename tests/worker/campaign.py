"""A fault campaign: many documents, several pods, and everything around them failing by the dice of one seed.

A pod is a worker process beside a scripted model server; AWS is moto behind a fault proxy. While documents
are answered, workers and servers are killed or told to go. Afterwards every document has exactly one result,
the one of a run without faults, or it has failure records whose reasons are true.
"""

from __future__ import annotations

import collections
import json
import random
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.worker import messages
from tests.worker import fault_proxy, scripted_ollama
from tests.worker.faults import (
    CONFLICT,
    COPY,
    DUPLICATE,
    ERROR,
    EXISTS,
    GHOST,
    LOST,
    RESET,
    RESET_AFTER,
    THROTTLE,
    Chaos,
    slow,
)
from tests.worker.scripted_ollama import (
    ScriptedOllama,
    answer,
    cut,
    delay,
    error,
    error_line,
    hang,
    not_done,
)

if TYPE_CHECKING:
    import subprocess

    from tests.worker.rig import Rig
    from tests.worker.scripted_ollama import Reply

AWS_ODDS = {
    "ReceiveMessage": {THROTTLE: 0.02, DUPLICATE: 0.05, GHOST: 0.02, COPY: 0.02, RESET: 0.01},
    "ChangeMessageVisibility": {ERROR: 0.05, LOST: 0.03, RESET_AFTER: 0.02},
    "DeleteMessage": {ERROR: 0.03, LOST: 0.05, RESET_AFTER: 0.03},
    "SendMessage": {ERROR: 0.03, RESET_AFTER: 0.03},
    "GetObject": {ERROR: 0.03, THROTTLE: 0.02, RESET: 0.02, slow(0.3): 0.02},
    "HeadObject": {ERROR: 0.03, RESET: 0.02},
    "PutObject": {ERROR: 0.03, CONFLICT: 0.03, EXISTS: 0.02, RESET_AFTER: 0.05, slow(0.3): 0.02},
    "ListObjectsV2": {ERROR: 0.05},
    "PutEvents": {ERROR: 0.05, RESET_AFTER: 0.03},
}

PERSISTENT = 0.2
"""The share of AWS's faults that the SDK's own retries cannot hide."""

OLLAMA_ODDS = {
    "busy": 0.03,
    "error": 0.02,
    "cut": 0.02,
    "error line": 0.01,
    "hang": 0.01,
    "slow": 0.05,
}

BAD = {
    b"  \n": {"empty"},
    bytes(range(256)): {"undecodable"},
    b"LONG": {"too_long"},
    b"POISON": {"kills_server"},
    b"LOOP": {"not_done"},
}
"""Documents that have no answer, and the reasons that are true of them."""

BAD_SHARE = 0.1
TRANSIENT = {"aws_error", "server_error", "busy", "time_limit"}
ATTEMPTS = 5
DOWN_SECONDS = 0.3
BREATH_SECONDS = (1.0, 2.5)
"""Between two blows."""


@dataclass
class Pod:
    """A worker beside its model server."""

    name: str
    server: ScriptedOllama
    worker: subprocess.Popen[bytes]


@dataclass
class Campaign:
    """One run.

    Attributes:
        rig: buckets and queues of its own.
        seed: of all its dice.
        count: documents.
        pods: how many at once.
        expected: what each document should come to: its answer, or true reasons.
        deaths: how often a server died, or seemed to, with a prompt in hand.
        tally: what was done to whom, how often.
    """

    rig: Rig
    seed: int
    count: int
    pods: int = 3
    expected: dict[str, str | set[str]] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    deaths: collections.Counter[str] = field(default_factory=collections.Counter)
    tally: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        """Starts with dice of the seed."""
        self._dice = random.Random(self.seed)  # noqa: S311  no secret
        self._server_dice = random.Random(self.seed + 1)  # noqa: S311  likewise: threads throw these
        self._lock = threading.Lock()
        self._started = 0
        self._aws = ""

    def run(self, patience_seconds: float) -> None:
        """Answers all documents under faults."""
        self._drop_documents()
        rule = Chaos(self.seed, AWS_ODDS, persistent=PERSISTENT)
        with fault_proxy.running(self.rig.endpoint, rule) as proxy:
            self._aws = proxy.endpoint
            with ExitStack() as servers:
                pods = [self._new_pod(servers.enter_context(self._server())) for _ in range(self.pods)]
                self._harass(pods, time.monotonic() + patience_seconds)
                for pod in pods:
                    pod.worker.terminate()
                for pod in pods:
                    pod.worker.wait(30)
                    self.deaths.update(pod.server.dropped)
            for (operation, kind), times in proxy.tally.items():
                if kind != "passed":
                    self.tally[f"{operation}: {kind}"] += times

    # What is dropped

    def _drop_documents(self) -> None:
        for number in range(self.count):
            name, content = f"{number:05}.txt", f"document {number}".encode()
            outcome: str | set[str] = f"about {content.decode()}"
            if self._dice.random() < BAD_SHARE:
                bad, outcome = self._dice.choice(list(BAD.items()))
                content = bad if len(BAD[bad]) and not bad.isalpha() else bad + content
            key = self.rig.upload(name, content)
            self.expected[key] = outcome
            self.prompts[key] = content.decode("latin-1")

    # Who answers it

    def _server(self) -> Any:  # noqa: ANN401  a context manager
        server = ScriptedOllama(crash_on={"POISON"}, down_seconds=DOWN_SECONDS)
        server.script = lambda body: self._say(body["prompt"])
        return scripted_ollama.running(server)

    def _say(self, prompt: str) -> Reply | None:
        """What a server says to a prompt; faults are as likely for each request."""
        if prompt.startswith("LONG"):
            return error(400, "the input length exceeds the context length")
        if prompt.startswith("LOOP"):
            return not_done()
        with self._lock:
            odds = {**OLLAMA_ODDS, "": 1 - sum(OLLAMA_ODDS.values())}
            (fate,) = self._server_dice.choices(list(odds), list(odds.values()))
            if fate:
                self.tally[f"Ollama: {fate}"] += 1
            if fate in {"cut", "error line"}:
                self.deaths[prompt] += 1
        said = answer(f"about {prompt}")
        return {
            "busy": error(503, "server busy, please try again.  maximum pending requests exceeded"),
            "error": error(500, "something went wrong"),
            "cut": cut(said),
            "error line": error_line("an error was encountered while running the model"),
            "hang": hang(),
            "slow": delay(0.5, said),
            "": delay(0.05, said),
        }[fate]

    def _new_pod(self, server: ScriptedOllama) -> Pod:
        self._started += 1
        name = f"pod-{self._started}"
        return Pod(name, server, self._worker(name, server))

    def _worker(self, pod: str, server: ScriptedOllama) -> subprocess.Popen[bytes]:
        return self.rig.worker(
            pod=pod,
            server=server.host,
            aws=self._aws,
            parallel=2,
            max_instances=self.pods,
            attempts=ATTEMPTS,
            time_limit_seconds=2,
            visibility_seconds=3,
            grace_seconds=20,
        )

    # What happens to them

    def _harass(self, pods: list[Pod], deadline: float) -> None:
        blow = time.monotonic() + 3
        while not self.rig.is_empty():
            assert time.monotonic() < deadline, f"seed {self.seed}: {self.rig.counts()} messages are left"
            time.sleep(0.2)
            # The last documents get some peace: a campaign has to end.
            if time.monotonic() > blow and sum(self.rig.counts()) > self.count / 20:
                blow = time.monotonic() + self._dice.uniform(*BREATH_SECONDS)
                self._strike(pods)
            for number, pod in enumerate(pods):
                if pod.worker.poll() is not None:
                    # Told to go, and gone: another pod takes its place.
                    pods[number] = self._new_pod(pod.server)

    def _strike(self, pods: list[Pod]) -> None:
        number = self._dice.randrange(len(pods))
        pod = pods[number]
        action = self._dice.choice(["server killed", "worker killed", "node lost", "pod told to go"])
        self.tally[action] += 1
        match action:
            case "server killed":
                with self._lock:
                    self.deaths.update(pod.server.asked[-4:])
                pod.server.crash()
                threading.Timer(DOWN_SECONDS, pod.server.restart).start()
            case "worker killed":
                pod.worker.kill()
                pod.worker.wait()
                with self._lock:
                    self.deaths.update(pod.server.asked[-8:])
                pod.worker = self._worker(pod.name, pod.server)
            case "node lost":
                pod.worker.kill()
                pod.worker.wait()
                pods[number] = self._new_pod(pod.server)
            case _:
                pod.worker.send_signal(signal.SIGTERM)

    # What came of it

    def problems(self) -> list[str]:
        """Every document that has not exactly what it should have; empty after a good run."""
        found: list[str] = []
        dead = collections.defaultdict[str, set[str]](set)
        for body, attributes in self.rig.dead_letters():
            dead[messages.parse(body)[0].key].add(attributes["reason"])
        announced = {event["job"] for event in self.rig.announced()}
        everything = self.rig.everything()
        for key, expected in self.expected.items():
            results = [
                text
                for name, versions in everything.items()
                if name.startswith(f"{key}/")
                for text in versions
            ]
            records = [
                json.loads(versions[0])
                for name, versions in sorted(everything.items())
                if name.startswith(f"records/{key}/")
            ]
            failures = {record["failure"]["reason"] for record in records if record["outcome"] == "failed"}
            say = f"{key}: {results} {failures} dead {dead[key]}, expected {expected}"
            if results:
                answered = {record["job"] for record in records if record["outcome"] == "answered"}
                if results != [expected] or len(answered) != 1 or not answered <= announced:
                    found.append(f"{say}; answered {answered}")
            elif not failures or failures != dead[key]:
                found.append(say)
            elif not failures <= self._true_reasons(key, records):
                found.append(f"{say}; {json.dumps(records)}")
            self.tally["answered" if results else f"failed: {', '.join(sorted(failures))}"] += 1
        return found

    def _true_reasons(self, key: str, records: list[dict[str, Any]]) -> set[str]:
        expected = self.expected[key]
        true = set() if isinstance(expected, str) else set(expected)
        if sum(record["outcome"] == "retried" for record in records) >= ATTEMPTS - 1:
            true |= TRANSIENT
        if self.deaths[self.prompts[key]] > 1:
            true |= {"kills_server", "kills_worker"}
        return true
