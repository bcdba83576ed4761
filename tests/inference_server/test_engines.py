"""The engines that need nobody: extractive and echo."""

import anyio
import pytest
from anyio import fail_after

from inference_server.engines import Generate
from inference_server.engines.echo import echo
from inference_server.engines.extractive import extractive
from wire import Delta, Final, Job, Metadata, Passage, Said, Turn, Usage
from wire.verdict import verdict

NOTHING = Said()


async def answer(generate: Generate, job: Job, said: Said = NOTHING) -> tuple[str, Final]:
    with fail_after(30):
        async with generate(job, said) as replies:
            *deltas, final = [reply async for reply in replies]
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert isinstance(final, Final)
    return "".join(delta.chunk for delta in deltas), final


async def test_extractive_quotes_its_sources_word_for_word_and_says_that_it_is_no_model() -> None:
    passages = (
        Passage(text="Cats sleep. The house was built in 1843."),
        Passage(text="Builders built a house of stone."),
    )
    text, final = await answer(extractive, Job("r", "When was the house built?", passages))
    assert text == "The house was built in 1843. [1]\n\nBuilders built a house of stone. [2]"
    assert (final.engine, final.model, final.error) == ("extractive", None, None)


async def test_extractive_says_that_the_documents_do_not_say_and_cites_nothing() -> None:
    for passages in ((), (Passage(text="Cats sleep."),)):
        text, final = await answer(extractive, Job("r", "When was the house built?", passages))
        assert text == "The documents do not say."
        assert final.engine == "extractive"


@pytest.mark.parametrize(
    "prompt", ["one two", " lead", "trail \n", "a\u2028b \u3000 c\td\r\n\r\ne", "", " \n ", "🦀" * 9]
)
async def test_echo_gives_the_prompt_back_to_the_letter(prompt: str) -> None:
    text, final = await answer(echo(), Job("r", prompt))
    assert text == prompt
    assert final.engine == "echo"


async def test_echo_counts_its_words_and_stops_at_the_jobs_limit() -> None:
    text, final = await answer(echo(), Job("r", "one two three", metadata=Metadata(max_tokens=2)))
    assert text == "one two "
    assert (final.finish_reason, final.usage) == ("length", Usage(completion_tokens=2))


async def test_echo_keeps_the_rate_it_was_given() -> None:
    start = anyio.current_time()
    await answer(echo(tokens_per_second=200), Job("r", "x " * 41))
    assert anyio.current_time() - start >= 0.2


@pytest.mark.parametrize("out", ["", "one ", "one two "])
async def test_echo_goes_on_where_another_worker_stopped(out: str) -> None:
    job = Job("r", "one two three", metadata=Metadata(max_tokens=3))
    text, final = await answer(echo(), job, Said(out))
    assert out + text == "one two three"
    assert final.usage == Usage(completion_tokens=3)


@pytest.mark.parametrize("out", [0, 7, 32, 40, 71])
async def test_extractive_goes_on_where_another_worker_stopped(out: int) -> None:
    passages = (
        Passage(text="Cats sleep. The house was built in 1843."),
        Passage(text="Builders built a house of stone."),
    )
    job = Job("r", "When was the house built?", passages)
    whole, _ = await answer(extractive, job)
    rest, _ = await answer(extractive, job, Said(whole[:out]))
    assert rest == whole[out:]


async def test_without_a_model_nothing_is_judged() -> None:
    judged = Metadata(task="judge", statements=("It was built in 1843.",))
    job = Job("r", "When was the house built?", (Passage(text="The house was built in 1843."),), metadata=judged)
    for generate in (extractive, echo()):
        assert verdict(job, (await answer(generate, job))[0]) is None


@pytest.mark.parametrize("generate", [extractive, echo()])
async def test_without_a_model_a_follow_up_comes_back_as_it_was_typed(generate: Generate) -> None:
    turns = (Turn("user", "When is the house open?"),)
    job = Job(
        "r", "and in winter?", (Passage(text="The house is open."),), metadata=Metadata(task="rewrite", turns=turns)
    )
    assert (await answer(generate, job))[0] == "and in winter?"
