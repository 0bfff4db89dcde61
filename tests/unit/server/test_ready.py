"""The model server's state: what makes it ready, and what keeps it from that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from structlog.testing import capture_logs

from runtime.spec import Options
from runtime.worker.server import RETRY_SECONDS
from tests.unit.clocks import until
from tests.unit.server.fake_ollama import (
    BROKEN,
    GONE,
    ON_CPU,
    ON_GPU,
    STEPS,
    FakeOllama,
    hang,
    kept,
    loaded,
    serve,
)

if TYPE_CHECKING:
    from runtime.spec import TaskSpec
    from tests.unit.clocks import Clock


async def test_a_model_is_ready_once_it_has_spoken_and_lies_where_it_should(clock: Clock) -> None:
    """It is loaded, looked at and heard, in this order, before anything may be received."""
    ollama, told = FakeOllama(size_vram=100), list[tuple[float, int, int]]()

    async def slowly() -> None:
        clock.seconds += 7

    ollama.script["load"] = slowly
    server = serve(ollama, clock, ON_GPU, lambda *facts: told.append(facts))
    assert (server.ready, server.alive, server.digest, server.vision) == (False, True, "", False)
    async with kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert (server.ready, server.alive, server.digest, server.vision) == (True, True, "sha", True)
    assert ollama.asked == STEPS
    assert told == [(7.0, 100, 100)]


@pytest.mark.parametrize(
    ("task", "size_vram", "step", "what", "problem"),
    [
        (ON_CPU, 0, "load", BROKEN, "the server answered 500: CUDA error"),
        (ON_CPU, 0, "load", GONE, "ConnectError: refused"),
        (ON_CPU, 0, "load", httpx.ReadTimeout(""), "ReadTimeout"),
        (ON_CPU, 0, "capabilities", BROKEN, "the server answered 500: CUDA error"),
        (ON_CPU, 0, "first_word", ValueError("no word"), "ValueError: no word"),
        (ON_CPU, 0, "loaded", lambda: asyncio.sleep(0), "the server took the model and does not list it"),
        (ON_CPU, 1, "", None, "1 bytes are on a GPU, and the task has gpuCount 0"),
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
    server = serve(ollama, clock, task)
    with capture_logs() as logs:
        async with kept(server):
            await until(lambda: ollama.asked.count("load") == 4)
            assert not server.ready
            ollama.script = {"loaded": loaded(100 * task.gpus)}
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
    server = serve(ollama, clock)
    with capture_logs() as logs:
        async with kept(server):
            await asyncio.wait_for(server.wait_until_ready(), 1)
    assert [entry["problem"] for entry in logs if entry["log_level"] == "warning"] == [
        "ConnectError: refused",
        "the server answered 500: CUDA error",
    ]


@pytest.mark.parametrize(("task", "size_vram"), [(ON_CPU, 0), (ON_GPU, 100)])
async def test_a_model_that_lies_where_it_should_is_ready(
    clock: Clock, task: TaskSpec, size_vram: int
) -> None:
    """Without GPUs none of it is on one, with them all of it."""
    server = serve(FakeOllama(size_vram), clock, task)
    async with kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)


async def test_who_chose_num_gpu_has_chosen_where_the_model_lies(clock: Clock) -> None:
    """A model that is on a GPU in part is no problem then."""
    task = ON_GPU.model_copy(update={"options": Options(num_gpu=7)})
    server = serve(FakeOllama(50), clock, task)
    async with kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)


async def test_a_model_that_hangs_at_its_first_word_is_not_ready(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU can be lost under a model that counts as loaded."""
    monkeypatch.setattr("runtime.worker.server.FIRST_WORD_SECONDS", 0)
    ollama = FakeOllama()
    ollama.script["first_word"] = hang
    server = serve(ollama, clock)
    with capture_logs() as logs:
        async with kept(server):
            await until(lambda: ollama.asked.count("load") == 3)
    assert not server.ready
    assert [entry["problem"] for entry in logs] == ["TimeoutError"]


async def test_a_sick_server_has_to_show_its_model_anew(clock: Clock) -> None:
    """Whoever waits goes on only when it is loaded and heard again."""
    ollama = FakeOllama()
    server = serve(ollama, clock)
    async with kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
        server.mark_sick()
        assert (server.ready, server.alive) == (False, True)
        waiting = asyncio.ensure_future(server.wait_until_ready())
        assert not waiting.done()
        await asyncio.wait_for(waiting, 1)
    assert ollama.asked == STEPS * 2


@pytest.mark.parametrize("what", [lambda: asyncio.sleep(0), GONE, loaded(1)], ids=["none", "gone", "moved"])
async def test_a_model_that_is_not_there_any_more_is_loaded_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, what: object
) -> None:
    """A look at a model that was loaded finds out, without any document."""
    ollama = FakeOllama()
    server = serve(ollama, clock)
    async with kept(server):
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
    server = serve(ollama, clock)
    async with kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
        while len(ollama.asked) < 20:
            await asyncio.sleep(0)
            assert server.ready
    assert ollama.asked == STEPS + ["loaded"] * 16


async def test_a_look_that_is_not_answered_in_time_says_nothing_until_the_third(clock: Clock) -> None:
    """A busy machine is slow now and then; an answer in between begins anew."""
    ollama = FakeOllama()
    server = serve(ollama, clock)
    async with kept(server):
        await until(lambda: server.ready)
        readiness: list[bool] = []
        for answer in ("slow", "slow", "", "slow", "slow", "slow"):
            ollama.script["loaded"] = httpx.ReadTimeout("slow") if answer else loaded()
            await server._look()  # noqa: SLF001  its pause is the loop's own time
            readiness.append(server.ready)
        assert readiness == [True, True, True, True, True, False]
