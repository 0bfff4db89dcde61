"""The model server's state: what makes it ready, what keeps it from that, and when its pod is given up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast, get_args

import httpx
import pytest
from structlog.testing import capture_logs

from runtime.ollama.client import Loaded, Ollama
from runtime.spec import DocumentType, ModelSource, ModelSpec, Options, TaskSpec
from runtime.worker.server import MAX_DEATHS, RETRY_SECONDS, SICK_SECONDS, Server
from tests.unit.test_holding import Clock, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

TASK = TaskSpec(
    name="task",
    model=ModelSpec(source=ModelSource.model_validate({"from": "tiny"})),
    accepts=get_args(DocumentType),
    queue_url="q",
    dead_letter_url="d",
    documents_bucket="in",
    results_bucket="out",
)
ON_GPU = TASK.model_copy(update={"gpus": 1})
BROKEN = httpx.HTTPStatusError(
    "", request=httpx.Request("POST", "http://o"), response=httpx.Response(500, text="CUDA error")
)
GONE = httpx.ConnectError("refused")
STEPS = ["load", "capabilities", "first_word", "loaded"]


def _loaded(size_vram: int = 0) -> Loaded:
    return Loaded(name="tiny:latest", digest="sha", size=100, size_vram=size_vram)


class FakeOllama:
    """A server that does what `script` says for a step: raise, give, or call; healthy without it."""

    def __init__(self, size_vram: int = 0) -> None:
        self.asked: list[str] = []
        self.script: dict[str, Any] = {}
        self._healthy = {"capabilities": frozenset({"vision"}), "loaded": _loaded(size_vram)}

    async def load(self, _task: TaskSpec) -> None:
        """Loads."""
        await self._step("load")

    async def capabilities(self, model: str) -> frozenset[str]:
        """Says that it sees."""
        assert model == "tiny"
        return await self._step("capabilities")

    async def first_word(self, _task: TaskSpec) -> None:
        """Says something."""
        await self._step("first_word")

    async def loaded(self) -> Loaded | None:
        """Says what is loaded."""
        return await self._step("loaded")

    async def ping(self) -> None:
        """Answers."""
        await self._step("ping")

    async def _step(self, name: str) -> Any:  # noqa: ANN401
        self.asked.append(name)
        await asyncio.sleep(0)
        what = self.script.get(name, self._healthy.get(name))
        if isinstance(what, Exception):
            raise what
        call: Any = what if callable(what) else None
        return await call() if call else what


async def _hang() -> None:
    await asyncio.Event().wait()


def _server(
    ollama: FakeOllama,
    clock: Clock,
    task: TaskSpec = TASK,
    loaded: Callable[[float, int, int], None] = lambda *_: None,
) -> Server:
    return Server(cast("Ollama", ollama), task, loaded=loaded, clock=clock)


@contextlib.asynccontextmanager
async def _kept(server: Server) -> AsyncGenerator[None]:
    keeping = asyncio.ensure_future(server.keep())
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


async def test_a_model_is_ready_once_it_has_spoken_and_lies_where_it_should(clock: Clock) -> None:
    """It is loaded, looked at and heard, in this order, before anything may be received."""
    ollama, told = FakeOllama(size_vram=100), list[tuple[float, int, int]]()

    async def slowly() -> None:
        clock.seconds += 7

    ollama.script["load"] = slowly
    server = _server(ollama, clock, ON_GPU, lambda *facts: told.append(facts))
    assert (server.ready, server.alive, server.digest, server.vision) == (False, True, "", False)
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert (server.ready, server.alive, server.digest, server.vision) == (True, True, "sha", True)
    assert ollama.asked == STEPS
    assert told == [(7.0, 100, 100)]


@pytest.mark.parametrize(
    ("task", "size_vram", "step", "what", "problem"),
    [
        (TASK, 0, "load", BROKEN, "the server answered 500: CUDA error"),
        (TASK, 0, "load", GONE, "ConnectError: refused"),
        (TASK, 0, "load", httpx.ReadTimeout(""), "ReadTimeout"),
        (TASK, 0, "capabilities", BROKEN, "the server answered 500: CUDA error"),
        (TASK, 0, "first_word", ValueError("no word"), "ValueError: no word"),
        (TASK, 0, "loaded", lambda: asyncio.sleep(0), "the server took the model and does not list it"),
        (TASK, 1, "", None, "1 bytes are on a GPU, and the task has gpuCount 0"),
        (
            ON_GPU,
            99,
            "",
            None,
            (
                "only 99 of 100 bytes are in GPU memory; choose a smaller num_ctx, another quantisation or a "
                "larger GPU, or set num_gpu to have it so"
            ),
        ),
    ],
)
async def test_whatever_is_wrong_with_a_model_keeps_its_documents_in_the_queue(  # noqa: PLR0913, PLR0917
    clock: Clock, task: TaskSpec, size_vram: int, step: str, what: object, problem: str
) -> None:
    """The problem is logged once, however often it is tried, and the model is ready once it is mended."""
    ollama = FakeOllama(size_vram)
    ollama.script[step] = what
    server = _server(ollama, clock, task)
    with capture_logs() as logs:
        async with _kept(server):
            await until(lambda: ollama.asked.count("load") == 4)
            assert not server.ready
            ollama.script = {"loaded": _loaded(100 * task.gpus)}
            await asyncio.wait_for(server.wait_until_ready(), 1)
    assert [entry["problem"] for entry in logs if entry["event"] == "model not loaded yet"] == [problem]
    assert clock.seconds == RETRY_SECONDS * (ollama.asked.count("load") - 1)


async def test_another_problem_is_logged_as_well(clock: Clock) -> None:
    """What changes is news."""
    ollama = FakeOllama()
    problems = iter((GONE, GONE, BROKEN))

    async def fail() -> None:
        if (problem := next(problems, None)) is not None:
            raise problem

    ollama.script["load"] = fail
    server = _server(ollama, clock)
    with capture_logs() as logs:
        async with _kept(server):
            await asyncio.wait_for(server.wait_until_ready(), 1)
    assert [entry["problem"] for entry in logs if entry["log_level"] == "warning"] == [
        "ConnectError: refused",
        "the server answered 500: CUDA error",
    ]


@pytest.mark.parametrize(("task", "size_vram"), [(TASK, 0), (ON_GPU, 100)])
async def test_a_model_that_lies_where_it_should_is_ready(
    clock: Clock, task: TaskSpec, size_vram: int
) -> None:
    """Without GPUs none of it is on one, with them all of it."""
    server = _server(FakeOllama(size_vram), clock, task)
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)


async def test_who_chose_num_gpu_has_chosen_where_the_model_lies(clock: Clock) -> None:
    """A model that is on a GPU in part is no problem then."""
    task = ON_GPU.model_copy(update={"options": Options(num_gpu=7)})
    server = _server(FakeOllama(50), clock, task)
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)


async def test_a_model_that_hangs_at_its_first_word_is_not_ready(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU can be lost under a model that counts as loaded."""
    monkeypatch.setattr("runtime.worker.server.FIRST_WORD_SECONDS", 0)
    ollama = FakeOllama()
    ollama.script["first_word"] = _hang
    server = _server(ollama, clock)
    with capture_logs() as logs:
        async with _kept(server):
            await until(lambda: ollama.asked.count("load") == 3)
    assert not server.ready
    assert [entry["problem"] for entry in logs] == ["TimeoutError"]


async def test_a_load_is_alive_for_as_long_as_its_server_answers(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten hours are no reason to give the pod up, whatever failed before; an unanswered ping ends it."""
    monkeypatch.setattr("runtime.worker.server.PING_SECONDS", 0)
    clock.seconds = 1000
    ollama, alive = FakeOllama(), list[bool]()
    cancelled = asyncio.Event()

    async def load() -> None:
        if ollama.asked == ["load"]:
            raise GONE
        try:
            await _hang()
        finally:
            cancelled.set()

    server = _server(ollama, clock)

    async def ping() -> None:
        alive.append(server.alive)
        clock.seconds += 10
        if len(alive) == 3600:
            ollama.script = {}
            raise GONE

    ollama.script.update(load=load, ping=ping)
    with capture_logs() as logs:
        async with _kept(server):
            await asyncio.wait_for(server.wait_until_ready(), 60)
    assert alive == [True] * 3600
    assert cancelled.is_set()
    assert ollama.asked.count("load") == 3
    assert [entry["problem"] for entry in logs if entry["log_level"] == "warning"] == [
        "ConnectError: refused"
    ]


async def test_a_server_that_fails_for_too_long_is_not_alive_until_it_is_loaded(clock: Clock) -> None:
    """The pod is given up after 120 seconds of failures; one success takes that back."""
    ollama, seen = FakeOllama(), list[tuple[float, bool]]()
    server = _server(ollama, clock)
    # The time of a machine that has been up for a moment; 0 is no time that a failure can have.
    clock.seconds = 1000

    async def fail() -> None:
        seen.append((clock.seconds - 1000, server.alive))
        if len(seen) <= 130:
            raise BROKEN

    ollama.script["load"] = fail
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert seen == [(float(second), second < SICK_SECONDS) for second in range(131)]
    assert SICK_SECONDS == 120
    assert server.alive


async def test_a_server_that_fails_at_once_is_given_up_by_the_clock_alone(clock: Clock) -> None:
    """A hundred refusals in as many seconds are no deaths; a clock that starts at 0 is one like any other."""
    ollama = FakeOllama()
    server = _server(ollama, clock)
    ollama.script["load"] = BROKEN
    async with _kept(server):
        await until(lambda: clock.seconds == SICK_SECONDS - 1)
        assert server.alive
        await until(lambda: not server.alive)
    assert clock.seconds == SICK_SECONDS


@pytest.mark.parametrize("failures", [MAX_DEATHS - 1, MAX_DEATHS])
async def test_a_server_whose_every_load_fails_is_given_up_however_slowly_it_fails(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """A lost GPU may show after half a minute of loading: pings meanwhile hide it from the clock only."""
    monkeypatch.setattr("runtime.worker.server.PING_SECONDS", 0)
    ollama = FakeOllama()

    async def load() -> None:
        clock.seconds += 30
        await settle()
        if ollama.asked.count("load") <= failures:
            raise BROKEN

    ollama.script["load"] = load
    server = _server(ollama, clock)
    async with _kept(server):
        await until(lambda: ollama.asked.count("load") == MAX_DEATHS)
        assert server.alive
        await until(lambda: server.digest)
    assert server.alive is server.ready is (failures < MAX_DEATHS)
    assert ollama.asked.count("ping") > MAX_DEATHS


async def test_slow_loads_that_end_well_are_no_deaths(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a large model has to be loaded."""
    monkeypatch.setattr("runtime.worker.server.PING_SECONDS", 0)
    ollama = FakeOllama()
    ollama.script["load"] = settle
    server = _server(ollama, clock)
    async with _kept(server):
        for _ in range(2 * MAX_DEATHS):
            await asyncio.wait_for(server.wait_until_ready(), 1)
            server.mark_sick()
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert server.alive


async def test_slow_loads_without_a_first_word_are_given_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that takes a model and dies at its first word has it loaded slowly again, for ever."""
    monkeypatch.setattr("runtime.worker.server.PING_SECONDS", 0)
    ollama = FakeOllama()

    async def load() -> None:
        clock.seconds += 30
        await settle()

    ollama.script.update(load=load, first_word=BROKEN)
    server = _server(ollama, clock)
    async with _kept(server):
        await until(lambda: clock.seconds > 3600)
    assert not server.alive


async def test_a_server_that_goes_away_in_every_load_is_given_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there for the first ping of each load, and hangs at the next."""
    monkeypatch.setattr("runtime.worker.server.PING_SECONDS", 0)
    ollama = FakeOllama()

    async def ping() -> None:
        clock.seconds += 10
        if ollama.asked[-2:] == ["ping", "ping"]:
            raise httpx.ReadTimeout("")

    ollama.script.update(load=_hang, ping=ping)
    server = _server(ollama, clock)
    async with _kept(server):
        await until(lambda: clock.seconds > 3600)
    assert not server.alive


async def test_a_sick_server_has_to_show_its_model_anew(clock: Clock) -> None:
    """Whoever waits goes on only when it is loaded and heard again."""
    ollama = FakeOllama()
    server = _server(ollama, clock)
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
        server.mark_sick()
        assert (server.ready, server.alive) == (False, True)
        waiting = asyncio.ensure_future(server.wait_until_ready())
        assert not waiting.done()
        await asyncio.wait_for(waiting, 1)
    assert ollama.asked == STEPS * 2


@pytest.mark.parametrize("what", [lambda: asyncio.sleep(0), GONE, _loaded(1)], ids=["none", "gone", "moved"])
async def test_a_model_that_is_not_there_any_more_is_loaded_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, what: object
) -> None:
    """A look at a model that was loaded finds out, without any document."""
    ollama = FakeOllama()
    server = _server(ollama, clock)
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
        monkeypatch.setattr("runtime.worker.server.CHECK_SECONDS", 0)
        server.mark_sick()  # only to have the pause between looks read again
        await asyncio.wait_for(server.wait_until_ready(), 1)
        before = len(ollama.asked)
        ollama.script["loaded"] = what
        await until(lambda: not server.ready)
        del ollama.script["loaded"]
        await asyncio.wait_for(server.wait_until_ready(), 1)
    looks = ollama.asked[before:]
    assert looks[: looks.index("load")] == ["loaded"] * looks.index("load")
    assert looks[looks.index("load") :][:4] == STEPS


async def test_a_model_that_is_where_it_was_is_left_alone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at a healthy server ask what is loaded, and nothing else."""
    monkeypatch.setattr("runtime.worker.server.CHECK_SECONDS", 0)
    ollama = FakeOllama()
    server = _server(ollama, clock)
    async with _kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
        while len(ollama.asked) < 20:
            await asyncio.sleep(0)
            assert server.ready
    assert ollama.asked == STEPS + ["loaded"] * 16


async def test_a_server_that_dies_under_whatever_it_is_asked_is_given_up(clock: Clock) -> None:
    """A broken GPU may load a model: after so many deaths in a row nothing is received, and the pod goes."""
    server = _server(FakeOllama(), clock)
    seen: list[tuple[bool, bool]] = []
    async with _kept(server):
        for _ in range(MAX_DEATHS):
            await until(lambda: server.digest)
            seen.append((server.ready, server.alive))
            server.mark_sick(died=True)
        await until(lambda: server.digest)
    assert seen == [(True, True)] * MAX_DEATHS
    assert (server.ready, server.alive) == (False, False)


async def test_an_answer_between_two_deaths_clears_the_server(clock: Clock) -> None:
    """Neither deaths before it count, nor failures that are none."""
    server = _server(FakeOllama(), clock)
    async with _kept(server):
        for died in [True] * (MAX_DEATHS - 1) + [False] * MAX_DEATHS:
            await until(lambda: server.digest)
            server.mark_sick(died=died)
        server.mark_well()
        for _ in range(MAX_DEATHS - 1):
            await until(lambda: server.digest)
            server.mark_sick(died=True)
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert server.alive


async def test_one_death_under_several_documents_is_one(clock: Clock) -> None:
    """With many slots a single crash fails many requests: that is no row of deaths."""
    server = _server(FakeOllama(), clock)
    async with _kept(server):
        await until(lambda: server.digest)
        for _ in range(MAX_DEATHS):
            server.mark_sick(died=True)
        await until(lambda: server.digest)
    assert (server.ready, server.alive) == (True, True)


async def test_whoever_waits_hears_that_the_server_answered_after_all(clock: Clock) -> None:
    """A request that was under way may clear it: then it is ready, and nobody waits on."""
    server = _server(FakeOllama(), clock)
    async with _kept(server):
        for _ in range(MAX_DEATHS):
            await until(lambda: server.digest)
            server.mark_sick(died=True)
        await until(lambda: server.digest)
        waiting = asyncio.ensure_future(server.wait_until_ready())
        await settle()
        assert not waiting.done()
        server.mark_well()
        assert server.ready
        await settle()
        assert waiting.done()
        await waiting


async def test_a_server_that_was_given_up_and_started_anew_gets_a_try(clock: Clock) -> None:
    """The kubelet has restarted it, and not the worker: it is asked again, and given up at its next death."""
    ollama = FakeOllama()
    server = _server(ollama, clock)
    async with _kept(server):
        await until(lambda: server.ready)
        for _ in range(MAX_DEATHS):
            await until(lambda: bool(server.digest))
            server.mark_sick(died=True)
        await until(lambda: bool(server.digest))
        assert (server.ready, server.alive) == (False, False)
        ollama.script["loaded"] = GONE
        await server._look()  # noqa: SLF001  its pause is the loop's own time
        ollama.script.clear()
        await until(lambda: server.ready)
        assert server.alive
        server.mark_sick(died=True)
        assert not server.alive


async def test_a_look_that_is_not_answered_in_time_says_nothing_until_the_third(clock: Clock) -> None:
    """A busy machine is slow now and then; an answer in between begins anew."""
    ollama = FakeOllama()
    server = _server(ollama, clock)
    async with _kept(server):
        await until(lambda: server.ready)
        readiness: list[bool] = []
        for answer in ("slow", "slow", "", "slow", "slow", "slow"):
            ollama.script["loaded"] = httpx.ReadTimeout("slow") if answer else _loaded()
            await server._look()  # noqa: SLF001  its pause is the loop's own time
            readiness.append(server.ready)
        assert readiness == [True, True, True, True, True, False]
