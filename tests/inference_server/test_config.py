"""config.yaml of the GPU box: what it says goes to vLLM, and what cannot be meant is refused with what to write."""

from pathlib import Path

import pytest

from inference_server.config import Config, WrongConfig, read

# A few of vLLM's own; tests/inference_server/test_vllm_engine.py asks vLLM for all of them.
ENGINE = ("model", "gpu_memory_utilization", "max_model_len", "max_num_seqs", "tensor_parallel_size", "dtype")
SAMPLING = ("temperature", "top_p", "max_tokens", "stop")
EXAMPLE = Path(__file__).parent.parent.parent / "inference_server" / "config.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(WrongConfig) as refused:
        read(written(folder, text)).check(ENGINE, SAMPLING)
    return str(refused.value)


def test_the_model_its_memory_and_its_limits_go_to_the_engine_and_sampling_to_the_sampler(tmp_path: Path) -> None:
    text = "model: m\ngpu_memory_utilization: 0.8\nmax-model-len: 4096\nsampling:\n  temperature: 0\n  stop: [END]\n"
    config = read(written(tmp_path, text))
    config.check(ENGINE, SAMPLING)
    assert config.engine == {"model": "m", "gpu_memory_utilization": 0.8, "max_model_len": 4096}
    assert config.sampling == {"temperature": 0, "stop": ["END"]}


def test_the_example_is_in_order() -> None:
    config = read(EXAMPLE)
    config.check(ENGINE, SAMPLING)
    assert config.engine["model"] and config.sampling["max_tokens"]


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("model: m\ngpu_memory: 0.8", "gpu_memory is no key that vLLM knows; did you mean gpu_memory_utilization?"),
        ("model: m\nmax_model_length: 9", "did you mean max_model_len?"),
        ("model: m\ntensor-parallel: 2", "did you mean tensor_parallel_size?"),
        ("model: m\nsamplings: {}", "did you mean sampling?"),
        ("model: m\nchat_templates: x", "did you mean chat_template?"),
        (
            "model: m\nsampling: {temprature: 1}",
            "below `sampling:`: temprature is no key that vLLM knows; did you mean temperature?",
        ),
        ("model: m\nxyzzy: 1", "xyzzy is no key that vLLM knows"),
        ("model: m\ntemperature: 1", "temperature stands in the wrong place: put it below `sampling:`"),
        ("model: m\nsampling: {dtype: float16}", "dtype stands in the wrong place: put it at the left margin"),
    ],
)
def test_a_wrong_key_is_refused_with_the_nearest_right_one(tmp_path: Path, text: str, nearest: str) -> None:
    said = refusal(tmp_path, text)
    assert nearest in said and str(tmp_path / "config.yaml") in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected `key: value` on each line"),
        ("- model", "expected `key: value` on each line, found list"),
        ("dtype: float16", "expected `model: NAME`"),
        ("model: [m]", "expected `model: NAME`"),
        ("model: m\nsampling: hot", "`sampling:`: expected `key: value` on each line, found str"),
        ("model: {", "was expected to be YAML"),
        ("model: m\nchat_template: 7", "expected `chat_template: FILE`"),
        ("model: m\nchat_template: nowhere.jinja", "nowhere.jinja cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_what_was_expected(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in refusal(tmp_path, text)


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WrongConfig, match=r"no .*/config\.yaml here: write one .* or name it: --config"):
        read(tmp_path / "config.yaml")


def test_a_configuration_cannot_run_code(tmp_path: Path) -> None:
    assert "was expected to be YAML" in refusal(tmp_path, "model: !!python/object/apply:os.system [exit]")


def test_a_chat_template_stands_in_a_file_beside_the_configuration_or_in_it(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}", "utf-8")
    in_file = read(
        written(tmp_path, "model: m\nchat_template: chat.jinja\nchat_template_kwargs: {enable_thinking: false}")
    )
    in_it = read(written(tmp_path, 'model: m\nchat_template: "{{ messages }}"'))
    assert in_file.chat_template == in_it.chat_template == "{{ messages }}"
    assert in_file.chat_template_kwargs == {"enable_thinking": False}
    assert in_file.engine == Config({"model": "m"}).engine
