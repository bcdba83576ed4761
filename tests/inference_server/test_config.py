"""config.yaml of the GPU box: what it says goes to vLLM, and what cannot be meant is refused with what to write."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from inference_server.config import EXAMPLE, Config, WrongConfig, chosen, read

# A few of vLLM's own; tests/inference_server/test_vllm_engine.py asks vLLM for all of them.
ENGINE = ("model", "gpu_memory_utilization", "max_model_len", "max_num_seqs", "tensor_parallel_size", "dtype")
SAMPLING = ("temperature", "top_p", "max_tokens", "stop")


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
    with pytest.raises(WrongConfig, match=r"no .*/config\.yaml here: .*--config.*--print-config"):
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


@dataclass
class Compilation:
    """As vLLM's settings have some of their own."""


TYPES: dict[str, Any] = {
    "model": str,
    "gpu_memory_utilization": float,
    "max_model_len": int | None,
    "enforce_eager": bool,
    "dtype": Literal["auto", "float16"],
    "served_model_name": str | list[str] | None,
    "compilation_config": Compilation,
    "executor": str | type[object],
    "later": "NameThatIsNotImported",
}
SAMPLING_TYPES: dict[str, Any] = {"temperature": float, "stop": str | list[str] | None}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_model_len: lots", "max_model_len was expected to be a whole number, found the text 'lots'"),
        ("max_model_len: 4096.0", "max_model_len was expected to be a whole number, found 4096.0"),
        ("max_model_len: true", "max_model_len was expected to be a whole number, found true"),
        ('gpu_memory_utilization: "0.9x"', "gpu_memory_utilization was expected to be a number, found the text '0.9x'"),
        ("gpu_memory_utilization:", "gpu_memory_utilization was expected to be a number, found nothing"),
        ("gpu_memory_utilization: {a: 1}", "was expected to be a number, found `key: value` pairs"),
        ("compilation_config: [1, 2]", "compilation_config was expected to be `key: value` pairs, found a list"),
        ("served-model-name: 7", "served_model_name was expected to be text or a list, found 7"),
        ("enforce_eager: 1", "enforce_eager was expected to be true or false, found 1"),
        ("dtype: 16", "dtype was expected to be text, found 16"),
        ("sampling: {temperature: hot}", "below `sampling:`: temperature was expected to be a number, found the text"),
        ("sampling: {stop: 3}", "below `sampling:`: stop was expected to be text or a list, found 3"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key_and_what_was_expected(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(WrongConfig) as refused:
        read(written(tmp_path, f"model: m\n{text}")).check_values(TYPES, SAMPLING_TYPES)
    assert told in str(refused.value) and str(tmp_path / "config.yaml") in str(refused.value)


def test_values_of_the_right_types_pass_and_what_types_do_not_say_is_left_to_vllm(tmp_path: Path) -> None:
    text = """
        gpu_memory_utilization: 1
        max_model_len:
        dtype: float15
        served_model_name: [a, b]
        compilation_config: {level: 3}
        executor: 7
        later: [1]
        sampling: {temperature: 0, stop: [END]}
    """
    text = "\n".join(line[8:] for line in text.splitlines())
    read(written(tmp_path, f"model: m\n{text}")).check_values(TYPES, SAMPLING_TYPES)


def test_without_a_file_in_this_folder_or_a_named_one_the_one_in_the_package_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert chosen(None) == EXAMPLE
    written(tmp_path, "model: m")
    assert chosen(None) == Path("config.yaml")
    assert chosen("other.yaml") == Path("other.yaml")


def test_the_command_prints_the_configuration_to_begin_with(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bridge.cli", "worker", "--print-config"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert read(written(tmp_path, printed)).engine == read(EXAMPLE).engine
    assert printed == EXAMPLE.read_text("utf-8")
