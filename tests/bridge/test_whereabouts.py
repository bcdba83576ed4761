import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from platformdirs import user_data_dir

from bridge import VERSION
from bridge.settings import load
from bridge.whereabouts import users_data

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("home", ["/home/ana", "relative", ""])
@pytest.mark.parametrize("named", [None, "", "relative", "/somewhere/else"])
def test_the_users_own_folder_is_where_platforms_have_it(
    monkeypatch: pytest.MonkeyPatch, home: str, named: str | None
) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("XDG_DATA_HOME", named)
    assert users_data() == user_data_dir("tandem", appauthor=False)
    assert load(None, {}, dotenv=False).data == Path(users_data())


def test_the_version_stands_in_the_project_file_too() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_a_relay_imports_none_of_what_takes_long_but_where_it_starts_the_daemon() -> None:
    code = "import sys, bridge.cli, bridge.relayed; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"pathlib", "typing", "dataclasses", "hashlib", "tempfile", "subprocess", "platformdirs", "bridge.settings"}
    assert not heavy & set(loaded)
    ours = {name for name in loaded if name.startswith("bridge.")}
    assert ours == {
        "bridge.cli",
        "bridge.relay",
        "bridge.relayed",
        "bridge.dial",
        "bridge.subscribed",
        "bridge.superseding",
        "bridge.whereabouts",
    }
