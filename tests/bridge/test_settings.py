import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from openinference.instrumentation import TraceConfig

from bridge.hiding import KNOWN, PREFIX
from bridge.settings import Settings, WrongSetting, load, openai_settings, worded
from observability.redaction import HIDEABLE


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The working folder; the data folder is `data` in it."""
    (tmp_path / "data").mkdir()
    return tmp_path


def loaded(place: Path, **environment: str) -> Settings:
    return load(str(place / "data"), environment, place)


def refusal(place: Path, **environment: str) -> str:
    with pytest.raises(WrongSetting) as refused:
        loaded(place, **environment)
    return str(refused.value)


def test_with_nothing_set_everything_is_embedded_and_closed_to_others(place: Path) -> None:
    settings = loaded(place)
    assert settings == Settings(place / "data", embedding_model="all-MiniLM-L6-v2", engine="extractive")
    assert (settings.host, settings.port, settings.qdrant, settings.redis_url) == ("127.0.0.1", 8000, None, None)
    assert settings.threads >= 1


def test_the_environment_wins_over_the_env_file_and_that_over_the_toml(place: Path) -> None:
    (place / "data" / "tandem.toml").write_text('port = 1\nrag_top_k = 1\nTANDEM_MODEL = "toml"\nhost = "::1"')
    (place / ".env").write_text("PORT=2\nRAG_TOP_K=2\n# a comment\nTANDEM_MODEL=\n")
    settings = loaded(place, PORT="3")
    assert (settings.port, settings.rag_top_k, settings.model, settings.host) == (3, 2, "toml", "::1")


def test_data_is_named_by_the_word_then_the_environment_then_the_env_file(place: Path) -> None:
    environment = {"TANDEM_DATA": str(place / "environment")}
    (place / ".env").write_text(f"TANDEM_DATA={place / 'file'}\n")
    assert load("word", environment, place).data == Path.cwd() / "word"
    assert load(None, environment, place).data == place / "environment"
    assert load(None, {}, place).data == place / "file"
    (place / ".env").unlink()
    assert load(None, {}, place).data.name == "tandem"
    assert load("~/index", {}, place).data == Path.home() / "index"


def test_the_toml_is_that_of_the_data_folder_that_was_named(place: Path) -> None:
    (place / "data" / "tandem.toml").write_text("port = 8123")
    assert load(None, {"TANDEM_DATA": str(place / "data")}, place).port == 8123
    assert load(str(place), {"TANDEM_DATA": str(place / "data")}, place).port == 8000


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"REDIS_URL": "redis://box"}, {"engine": "redis", "redis_url": "redis://box"}),
        ({"TANDEM_ENGINE": "redis"}, {"redis_url": "redis://localhost:6379"}),
        ({"REDIS_URL": "redis://box", "TANDEM_ENGINE": "extractive"}, {"engine": "extractive"}),
        ({"TANDEM_EMBED": "ollama"}, {"embedding_model": "nomic-embed-text"}),
        ({"TANDEM_EMBED": "ollama", "EMBEDDING_MODEL": "bge-m3"}, {"embedding_model": "bge-m3"}),
        ({"TANDEM_EMBED": "remote", "REDIS_URL": "redis://box"}, {"embedding_model": "all-MiniLM-L6-v2"}),
        ({"TANDEM_EMBED": "remote", "TANDEM_ENGINE": "redis"}, {"redis_url": "redis://localhost:6379"}),
        ({"QDRANT_HOST": "box"}, {"qdrant": "http://box:6333"}),
        ({"QDRANT_HOST": "box", "QDRANT_PORT": "7", "QDRANT_URL": "https://q"}, {"qdrant": "https://q"}),
        ({"THREAD_POOL_SIZE": "3"}, {"threads": 3}),
        ({"RESULT_TIMEOUT_SEC": " 2.5 "}, {"result_timeout_sec": 2.5}),
        ({"REDIS_URL": " ", "PORT": ""}, {"engine": "extractive", "port": 8000}),
        ({"TANDEM_EMBED_MODEL": "~/weights"}, {"embed_model": Path.home() / "weights"}),
        ({"TANDEM_EMBED_QUERY_PREFIX": "query: "}, {"embed_query_prefix": "query: ", "embed_document_prefix": None}),
        ({"TANDEM_EMBED_DOCUMENT_PREFIX": "none"}, {"embed_query_prefix": None, "embed_document_prefix": ""}),
        ({"TANDEM_TRACE_HIDE": "all"}, {"hidden": frozenset(HIDEABLE)}),
        ({"TANDEM_TRACE_HIDE": " Answers,questions"}, {"hidden": {"answers", "questions"}}),
        ({}, {"hidden": frozenset(), "judge": 0}),
        ({"TANDEM_JUDGE": "0.25"}, {"judge": 0.25}),
        ({"OPENINFERENCE_HIDE_INPUTS": "True"}, {"hidden": {"questions", "passages"}}),
        ({"OPENINFERENCE_HIDE_OUTPUTS": "false", "OPENINFERENCE_HIDE_CHOICES": ""}, {"hidden": frozenset()}),
        (
            {"OPENINFERENCE_HIDE_OUTPUT_TEXT": "true", "TANDEM_TRACE_HIDE": "questions"},
            {"hidden": {"questions", "answers"}},
        ),
        ({"OPENINFERENCE_HIDE_LLM_INVOCATION_PARAMETERS": "true"}, {"hidden": {"parameters"}}),
        ({"OPENINFERENCE_HIDE_EMBEDDINGS_VECTORS": "true"}, {"hidden": frozenset()}),
        ({"OPENINFERENCE_HIDE_WHAT_IS_YET_TO_COME": "true"}, {"hidden": frozenset(HIDEABLE)}),
        ({"port": "1", "PATH": "/bin", "TANDEM_TEST_X": "1"}, {"port": 8000}),
    ],
)
def test_what_is_set_says_what_else_is_meant(
    place: Path, environment: dict[str, str], expected: dict[str, Any]
) -> None:
    settings = loaded(place, **environment)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"PORT": "eighty"}, "PORT was expected to be a whole number, the environment says 'eighty'"),
        ({"PORT": "65536"}, "PORT was expected to be 0 to 65535, the environment says '65536'"),
        ({"PORT": "80.5"}, "PORT was expected to be a whole number, the environment says '80.5'"),
        ({"RAG_TOP_K": "0"}, "RAG_TOP_K was expected to be 1 to 100, the environment says '0'"),
        ({"MAX_CONCURRENT_PER_PROCESS": "0"}, "MAX_CONCURRENT_PER_PROCESS was expected to be 1 or more"),
        ({"RESULT_TIMEOUT_SEC": "0"}, "RESULT_TIMEOUT_SEC was expected to be 0.1 or more"),
        ({"RAG_SCORE_THRESHOLD": "nan"}, "RAG_SCORE_THRESHOLD was expected to be 0 or more"),
        ({"THREAD_POOL_SIZE": "-1"}, "THREAD_POOL_SIZE was expected to be 0 or more"),
        ({"TANDEM_LEASE_S": "long"}, "TANDEM_LEASE_S was expected to be a number, the environment says 'long'"),
        (
            {"TANDEM_EMBED": "best"},
            "TANDEM_EMBED was expected to be one of onnx, ollama, remote, the environment says 'best'",
        ),
        ({"TANDEM_EMBED": "remote"}, "TANDEM_EMBED=remote needs REDIS_URL"),
        ({"TANDEM_ENGINE": "vllm"}, "TANDEM_ENGINE was expected to be one of extractive, openai, redis"),
        (
            {"TANDEM_TRACE_HIDE": "prompts"},
            "TANDEM_TRACE_HIDE was expected to name questions, passages, answers, parameters or all, it names prompts",
        ),
        ({"TANDEM_JUDGE": "1.5"}, "TANDEM_JUDGE was expected to be 0 to 1, the environment says '1.5'"),
        (
            {"OPENINFERENCE_HIDE_INPUTS": "yes"},
            "OPENINFERENCE_HIDE_INPUTS was expected to be true or false, the environment says 'yes'",
        ),
        ({"TANDEM_NO_WORKER": "wait"}, "TANDEM_NO_WORKER was expected to be one of extract, refuse"),
        ({"UVICORN_WORKERS": "2"}, "UVICORN_WORKERS is 2: one process owns the index, so 1 is the only value"),
        ({"QDRANT_URL": "box:6333"}, "QDRANT_URL was expected to be http://host:6333 or https://host"),
        ({"TANDEM_ENGINE": "openai", "TANDEM_MODEL": "m"}, "the openai engine needs OPENAI_BASE_URL"),
        (
            {"TANDEM_TOKN": "t"},
            "the environment sets TANDEM_TOKN, which is no setting of Tandem; did you mean TANDEM_TOKEN?",
        ),
        ({"TANDEM_REDIS_ULR": "x"}, "did you mean REDIS_URL?"),
        ({"TANDEM_PORT": "1"}, "the environment sets TANDEM_PORT, which is no setting of Tandem; did you mean PORT?"),
    ],
)
def test_a_wrong_setting_is_told_with_what_was_expected_and_where_it_stands(
    place: Path, environment: dict[str, str], told: str
) -> None:
    assert told in refusal(place, **environment)


@pytest.mark.parametrize(
    ("folder", "config", "name"),
    [
        ("e5-small", {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 12}, "e5-small"),
        ("models--intfloat--e5-small/snapshots/0123", {"model_type": "mpnet"}, "intfloat/e5-small"),
        ("my model:2@home", {"model_type": "mpnet"}, "my-model-2-home"),
        ("minilm", {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6}, "all-MiniLM-L6-v2"),
        ("broken", [], "all-MiniLM-L6-v2"),
    ],
)
def test_a_folder_with_another_model_gives_it_its_name(place: Path, folder: str, config: object, name: str) -> None:
    (place / folder).mkdir(parents=True)
    (place / folder / "config.json").write_text(json.dumps(config))
    assert loaded(place, TANDEM_EMBED_MODEL=str(place / folder)).embedding_model == name
    assert loaded(place, TANDEM_EMBED_MODEL=str(place / folder), EMBEDDING_MODEL="mine").embedding_model == "mine"


def test_a_name_like_no_other_gets_no_guess(place: Path) -> None:
    assert refusal(place, TANDEM_ZZZZZZZ="1").endswith("which is no setting of Tandem")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"port = ", "was expected to be TOML, name = value on each line"),
        (b"model = \xff", "was expected to be TOML, name = value on each line"),
        (b'redis_ulr = "redis://box"', "sets redis_ulr, which is no setting of Tandem; did you mean REDIS_URL?"),
        (b'path = "/x"', "sets path, which is no setting of Tandem"),
        (b'port = "eighty"', "PORT was expected to be a whole number"),
    ],
)
def test_a_wrong_toml_is_named(place: Path, content: bytes, told: str) -> None:
    file = place / "data" / "tandem.toml"
    file.write_bytes(content)
    said = refusal(place)
    assert str(file) in said
    assert told in said


def test_what_openinference_hides_is_hidden_wherever_it_is_set_and_the_first_wins(place: Path) -> None:
    (place / "data" / "tandem.toml").write_text("openinference_hide_retrieval_documents = true")
    (place / ".env").write_text("OPENINFERENCE_HIDE_OUTPUTS=true\nOPENINFERENCE_HIDE_EMBEDDINGS_TEXT=true\n")
    assert loaded(place, OPENINFERENCE_HIDE_OUTPUTS="false").hidden == {"passages", "questions"}


def test_every_setting_of_openinference_that_hides_is_known() -> None:
    theirs = {field.metadata.get("env_var") or "" for field in fields(TraceConfig)}
    assert {name for name in theirs if name.startswith(PREFIX)} <= set(KNOWN)


def test_files_that_cannot_be_read_are_named(place: Path) -> None:
    (place / ".env").write_bytes(b"PORT=\xff\n")
    assert f"{place / '.env'} was expected to be readable, NAME=value on each line" in refusal(place)
    (place / ".env").unlink()
    (place / "data" / "tandem.toml").mkdir()
    assert f"{place / 'data' / 'tandem.toml'} cannot be read (Is a directory)" in refusal(place)


def test_another_programs_names_in_the_env_file_are_left_alone_but_ours_are_checked(place: Path) -> None:
    (place / ".env").write_text("DATABASE_URL=postgres://x\nPORT=8001\n")
    assert loaded(place).port == 8001
    (place / ".env").write_text("TANDEM_MODLE=x\n")
    assert f"{place / '.env'} sets TANDEM_MODLE" in refusal(place)
    assert "did you mean TANDEM_MODEL?" in refusal(place)


def test_the_openai_engine_needs_an_address_and_a_model(place: Path) -> None:
    environment = {"OPENAI_BASE_URL": "http://box/v1", "TANDEM_MODEL": "m", "OPENAI_API_KEY": "k"}
    assert openai_settings(loaded(place, **environment)) == ("http://box/v1", "k", "m")
    with pytest.raises(WrongSetting, match="set both"):
        openai_settings(loaded(place))


def test_what_a_part_finds_wrong_with_its_address_is_a_wrong_setting() -> None:
    with pytest.raises(WrongSetting, match=r"^expected REDIS_URL$"), worded():
        raise ValueError("expected REDIS_URL")
