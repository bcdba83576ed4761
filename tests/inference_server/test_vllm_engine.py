"""The real vLLM on this machine's processor, in this process, with a model that recites: `make test-all` runs this
file in .venv-vllm. Every text is known before it is generated."""

# ruff: noqa: E402
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import fail_after

pytest.importorskip(
    "vllm", reason="vLLM has an environment of its own: make test-all, or .venv-vllm/bin/python -m pytest"
)
pytestmark = pytest.mark.slow

import psutil
from vllm.sampling_params import SamplingParams

from inference_server.config import EXAMPLE, Config, WrongConfig, read
from inference_server.engines import EngineFailed, EngineLost, EngineUnusable
from inference_server.engines.vllm import DEATHS, Vllm, _Text, vllm_engine
from inference_server.engines.vllm_fields import check
from inference_server.prompt import messages
from tests.inference_server import reciter
from wire import Delta, Final, Job, Metadata, Passage, Said

SLOTS = 8
NOTHING = Said()


def config(model: Path, **more: Any) -> Config:
    engine = {
        "model": str(model),
        "served_model_name": "reciter",
        "dtype": "float32",
        "enforce_eager": True,
        "max_num_seqs": SLOTS,
        "kv_cache_memory_bytes": 64 << 20,
        "distributed_executor_backend": "uni",
    }
    return Config(engine | more, {"temperature": 0})


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    reciter.write(folder)
    return folder


@pytest.fixture(scope="session")
async def engine(model: Path) -> AsyncIterator[Vllm]:
    async with vllm_engine(config(model)) as running:
        yield running


@pytest.fixture(scope="session")
def tokenizer(model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


def prompt_tokens(tokenizer: Any, job: Job) -> int:
    return len(tokenizer.apply_chat_template(messages(job), add_generation_prompt=True, return_dict=False))


def recital(tokenizer: Any, start: int, tokens: int) -> str:
    """What a greedy run says whose prompt has `start` tokens."""
    ids = tokenizer.encode(reciter.text())[: reciter.RECITED][start : start + tokens]
    return tokenizer.decode(ids).rstrip("\ufffd")  # of a character that is cut, nothing is said


def ask(n: int = 0, max_tokens: int | None = 150, context: tuple[Passage, ...] = (), **more: Any) -> Job:
    """Each `n` has a prompt of another length, and so another answer."""
    return Job(f"job-{n}-{max_tokens}", "why? " * (n + 1), context, metadata=Metadata(max_tokens=max_tokens, **more))


async def answer(engine: Vllm, job: Job, said: Said = NOTHING) -> tuple[list[Delta], Final]:
    with fail_after(60):
        async with engine.generate(job, said) as replies:
            *deltas, final = [reply async for reply in replies]
    assert isinstance(final, Final)
    return [delta for delta in deltas if isinstance(delta, Delta)], final


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.chunk for delta in deltas)


async def test_a_greedy_answer_is_the_text_that_the_model_knows_with_its_token_counts(
    engine: Vllm, tokenizer: Any
) -> None:
    job = ask(max_tokens=600)
    deltas, final = await answer(engine, job)
    start = prompt_tokens(tokenizer, job)
    assert text_of(deltas) == recital(tokenizer, start, 600)
    assert len({token for delta in deltas for token in delta.tokens}) >= 100
    assert "窯" in text_of(deltas) and "👩‍🏭" in text_of(deltas)
    assert final.usage and final.finish_reason == "length"
    assert (final.engine, final.model) == ("vllm", "reciter")
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (start, 600)
    assert final.usage.total_tokens == start + 600


async def test_an_answer_without_a_limit_goes_on_to_the_models_own_end(engine: Vllm, tokenizer: Any) -> None:
    job = ask(1, max_tokens=None)
    deltas, final = await answer(engine, job)
    start = prompt_tokens(tokenizer, job)
    assert text_of(deltas) == recital(tokenizer, start, reciter.RECITED)
    assert final.finish_reason == "stop"
    assert final.usage and final.usage.completion_tokens == reciter.RECITED - start + 1


async def test_what_a_prompt_begins_with_is_read_once(engine: Vllm) -> None:
    await answer(engine, ask(2, max_tokens=1))
    _, final = await answer(engine, replace_prompt(ask(2, max_tokens=1), "and another question"))
    assert final.usage and final.usage.prompt_tokens and final.usage.cached_tokens
    assert final.usage.cached_tokens > final.usage.prompt_tokens // 2


def replace_prompt(job: Job, prompt: str) -> Job:
    return Job(job.request_id, prompt, job.context, metadata=job.metadata)


async def test_jobs_beside_each_other_get_their_own_answers(engine: Vllm, tokenizer: Any) -> None:
    async def check(n: int) -> None:
        deltas, _ = await answer(engine, ask(n))
        assert text_of(deltas) == recital(tokenizer, prompt_tokens(tokenizer, ask(n)), 150)

    async with anyio.create_task_group() as asking:
        for n in range(3 * SLOTS):
            asking.start_soon(check, n)


async def test_whoever_takes_over_at_any_piece_says_the_rest_to_the_letter(engine: Vllm) -> None:
    job = ask(3)
    whole, final = await answer(engine, job)
    assert len(whole) > 50

    async def check(cut: int) -> None:
        out = whole[:cut]
        said = Said(text_of(out), tuple(token for delta in out for token in delta.tokens))
        rest, end = await answer(engine, job, said)
        assert said.text + text_of(rest) == text_of(whole)
        assert said.tokens + tuple(token for delta in rest for token in delta.tokens) == all_tokens(whole)
        assert end.finish_reason == final.finish_reason
        assert end.usage and final.usage and end.usage.completion_tokens == final.usage.completion_tokens

    async with anyio.create_task_group() as takers:
        for cut in range(len(whole) + 1):
            takers.start_soon(check, cut)


def all_tokens(deltas: list[Delta]) -> tuple[int, ...]:
    return tuple(token for delta in deltas for token in delta.tokens)


async def test_a_character_cut_in_two_by_the_takeover_is_said_once_and_whole(engine: Vllm, tokenizer: Any) -> None:
    job = ask(4)
    whole, _ = await answer(engine, job)
    tokens = all_tokens(whole)
    inside = [cut for cut in range(len(tokens)) if tokenizer.decode(tokens[:cut]).endswith("\ufffd")]
    assert len(inside) > 10

    async def check(cut: int) -> None:
        said = Said(tokenizer.decode(tokens[:cut]).rstrip("\ufffd"), tokens[:cut])
        rest, _ = await answer(engine, job, said)
        assert said.text + text_of(rest) == text_of(whole)

    async with anyio.create_task_group() as takers:
        for cut in inside:
            takers.start_soon(check, cut)


async def test_an_answer_that_lacked_only_its_end_gets_it(engine: Vllm, tokenizer: Any) -> None:
    job = ask(5, max_tokens=None)
    whole, final = await answer(engine, job)
    rest, end = await answer(engine, job, Said(text_of(whole), all_tokens(whole)))
    assert (text_of(rest), end.finish_reason, end.usage and end.usage.completion_tokens) == (
        "",
        "stop",
        final.usage and final.usage.completion_tokens,
    )


@pytest.mark.parametrize(
    "said", [Said("half an answer"), Said("half an answer", (40, 41, 42)), Said("half", (10**6, 10**6))]
)
async def test_what_another_kind_of_engine_or_another_model_began_is_not_gone_on_with(engine: Vllm, said: Said) -> None:
    with pytest.raises(EngineFailed) as failed:
        await answer(engine, ask(), said)
    assert failed.value.code == "restarted"


async def test_a_context_that_is_too_long_loses_whole_passages_before_the_engine_sees_it(
    engine: Vllm, tokenizer: Any
) -> None:
    passages = tuple(Passage(text=f"Passage {n}: " + "the kiln is warm. " * 20) for n in range(40))
    job = ask(6, 500, passages)
    deltas, final = await answer(engine, job)
    room = reciter.POSITIONS - 500
    fitting = [n for n in range(41) if prompt_tokens(tokenizer, ask(6, 500, passages[:n])) <= room]
    kept = prompt_tokens(tokenizer, ask(6, 500, passages[: max(fitting)]))
    assert 0 < max(fitting) < 40
    assert final.usage and final.usage.prompt_tokens == kept
    assert text_of(deltas) == recital(tokenizer, kept, 500)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (ask(max_tokens=0), "max_tokens"),
        (ask(max_tokens=-5), "max_tokens"),
        (ask(model="another"), "this worker has reciter, not another"),
        (Job("long", "why? " * 4000), "raise max_model_len"),
        (Job("bulky", "why?", (Passage(text="warm " * 9000),)), "the question and its best passage have"),
    ],
)
async def test_a_job_that_cannot_be_done_is_refused_in_words_and_the_engine_lives(
    engine: Vllm, job: Job, words: str
) -> None:
    with pytest.raises(EngineFailed, match=words) as failed:
        await answer(engine, job)
    assert failed.value.code == "invalid_job"
    deltas, _ = await answer(engine, ask(max_tokens=5))
    assert text_of(deltas)


async def test_jobs_that_are_cancelled_leave_the_engine_at_once(engine: Vllm) -> None:
    begun = anyio.create_memory_object_stream[None](SLOTS)

    async def listen(n: int) -> None:
        async with engine.generate(ask(n, max_tokens=None), Said()) as replies:
            await anext(replies)
            begun[0].send_nowait(None)
            async for reply in replies:
                assert not isinstance(reply, Final), "it was cancelled"

    with fail_after(30):
        async with anyio.create_task_group() as listening:
            for n in range(SLOTS):  # all that run at once, each for hundreds of tokens more
                listening.start_soon(listen, n)
            for _ in range(SLOTS):
                await begun[1].receive()
            listening.cancel_scope.cancel()
    with fail_after(1):  # for what they had to go it would take seconds
        await answer(engine, ask(max_tokens=1))
    assert running() == 0


def running() -> float:
    """As vLLM counts its requests."""
    from prometheus_client import REGISTRY

    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
    )


def texts(tokenizer: Any, stop: list[str]) -> _Text:
    return _Text(tokenizer, [5, 6, 7], SamplingParams(max_tokens=400, stop=stop))


@pytest.mark.parametrize("stop", [[], ["day 7"], ["冷える。\U0001f525"], ["nowhere in it, this is held back for"]])
def test_stop_strings_end_the_same_text_wherever_it_is_taken_over(tokenizer: Any, stop: list[str]) -> None:
    ids = tokenizer.encode(reciter.text())[500:900]
    first = texts(tokenizer, stop)
    whole: list[Delta] = []
    for n, token in enumerate(ids, start=1):
        if delta := first.add((token,), "length" if n == len(ids) else None):
            whole.append(delta)
        if first.ended:
            break
    stopped = bool(stop) and "nowhere" not in stop[0]
    assert first.ended == ("stop" if stopped else "length")
    assert stopped == (len(text_of(whole)) < len(tokenizer.decode(ids)) - 10)
    for cut in range(len(whole)):
        said = Said(text_of(whole[:cut]), all_tokens(whole[:cut]))
        second, rest = texts(tokenizer, stop), ""
        assert second.resume(said)
        for n, token in enumerate(ids[len(said.tokens) :], start=len(said.tokens) + 1):
            if delta := second.add((token,), "length" if n == len(ids) else None):
                rest += delta.chunk
            if second.ended:
                break
        assert said.text + rest == text_of(whole)
    # Nothing but the final was lost: what is out is not said again.
    third = texts(tokenizer, stop)
    assert third.resume(Said(text_of(whole), all_tokens(whole)))
    assert third.add((), "length") is None


async def test_a_wrong_key_is_refused_with_the_nearest_of_vllms_own(model: Path) -> None:
    for wrong, nearest in (("gpu_memory_utilisation", "gpu_memory_utilization"), ("max_num_seq", "max_num_seqs")):
        with pytest.raises(WrongConfig, match=f"{wrong} is no key that vLLM knows; did you mean {nearest}"):
            async with vllm_engine(config(model, **{wrong: 1})):
                pass
    with pytest.raises(WrongConfig, match="temprature is no key that vLLM knows; did you mean temperature"):
        async with vllm_engine(replace(config(model), sampling={"temprature": 0})):
            pass


def test_a_value_of_the_wrong_type_is_refused_by_the_types_of_vllms_own_fields(model: Path) -> None:
    check(read(EXAMPLE))
    check(
        config(
            model, max_model_len=None, compilation_config={"mode": 0}, hf_overrides={"a": 1}, gpu_memory_utilization=1
        )
    )
    for name, value, expected in (
        ("max_model_len", "lots", "a whole number, found the text 'lots'"),
        ("gpu_memory_utilization", "0.9x", "a number, found the text '0.9x'"),
        ("compilation_config", [1], "`key: value` pairs, found a list"),
        ("served_model_name", 7, "text or a list, found 7"),
    ):
        with pytest.raises(WrongConfig, match=f"{name} was expected to be {expected}"):
            check(config(model, **{name: value}))
    with pytest.raises(WrongConfig, match=r"below `sampling:`: temperature was expected to be a number"):
        check(replace(config(model), sampling={"temperature": "hot"}))


async def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnusable, match=str(tmp_path / "nothing")):
        async with vllm_engine(config(tmp_path / "nothing")):
            pass


def cores() -> Iterator[psutil.Process]:
    for child in psutil.Process(os.getpid()).children(recursive=True):
        if "EngineCore" in "".join(child.cmdline()):
            yield child


async def test_a_job_goes_on_when_its_engine_has_died_and_one_that_kills_it_thrice_is_given_up(
    model: Path, tokenizer: Any
) -> None:
    job, others = ask(7, max_tokens=400), set(cores())

    async def until_killed(engine: Vllm, said: Said) -> tuple[Said, EngineLost]:
        deltas: list[Delta] = []
        with pytest.raises(EngineLost) as lost:
            async with engine.generate(job, said) as replies:
                async for reply in replies:
                    assert isinstance(reply, Delta)
                    deltas.append(reply)
                    if len(deltas) == 40:
                        for core in set(cores()) - others:
                            core.send_signal(signal.SIGKILL)
        return Said(said.text + text_of(deltas), said.tokens + all_tokens(deltas)), lost.value

    async with vllm_engine(config(model)) as engine:
        said = Said()
        for death in range(1, DEATHS + 1):
            said, lost = await until_killed(engine, said)
            assert recital(tokenizer, prompt_tokens(tokenizer, job), 400).startswith(said.text)
            if death < DEATHS:
                with fail_after(300):
                    await lost.back.wait()
        assert len(said.tokens) > 40 * DEATHS
        with pytest.raises(EngineFailed, match="3 times under this question") as failed:
            await answer(engine, job, said)
        assert failed.value.code == "poison"
