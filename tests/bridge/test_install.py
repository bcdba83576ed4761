"""`tandem install`: four clients' files as people have them, on three systems."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from bridge.install import CLIENTS, Refused, Target, target
from bridge.install.entry import data_of, entry, merged, own_command
from bridge.install.files import backups, replaced
from bridge.install.jsonc import parse
from bridge.install.places import Name, project_file, user_files
from tests.processes import Ended, Place, environment, place

ENTRY = entry(["/opt/tandem/bin/tandem"], Path("/srv/index"), ["/home/me/notes"], has_type=False)

FILES: dict[Name, bytes] = {
    "claude-desktop": b"""{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/me"]
    }
  }
}
""",
    "claude-code": b"""{
  "numStartups": 41,
  "projects": {
    "/home/me/code": { "mcpServers": { "tandem": { "command": "not this one" } } }
  },
  "oauthAccount": {"name": "M\xc3\xa9"}
}""",
    "cursor": b"""\xef\xbb\xbf{\r
\t// mine\r
\t"mcpServers": {\r
\t\t"remote": { "url": "https://mcp.example/mcp" }, // keep\r
\t\t/* "off": {}, */\r
\t}\r
}\r
""",
    "vscode": b"""{
    "inputs": [
        { "type": "promptString", "id": "key", "password": true }, // asked once
    ],
    "servers": {
        // nothing yet
    }
}
""",
}
OTHERS = (b"", b"{}", b'{"a":1}', b'{\n  "mcpServers": {}\n}\n', b"// only a comment", None)


def at(folder: Path, name: Name, content: bytes | None) -> Target:
    file = folder / "settings.json"
    if content is not None:
        file.write_bytes(content)
    return Target(CLIENTS[name], file)


def names(target: Target) -> dict[str, Any]:
    return parse(target.file.read_bytes().decode()).data[target.client.servers]


# --- what is written


@pytest.mark.parametrize("name", FILES)
def test_installing_and_uninstalling_gives_back_the_very_bytes(tmp_path: Path, name: Name) -> None:
    ours = at(tmp_path, name, FILES[name])
    before = parse(FILES[name].decode()).data
    assert ours.install(ENTRY)
    assert names(ours) == {**before.get(ours.client.servers, {}), "tandem": ENTRY}
    after = parse(ours.file.read_bytes().decode()).data
    assert {**after, ours.client.servers: 0} == {**before, ours.client.servers: 0}
    for line in FILES[name].splitlines():  # of comments too
        assert line.strip(b" ,\r{}") in ours.file.read_bytes()
    assert ours.uninstall()
    assert ours.file.read_bytes() == FILES[name]


@pytest.mark.parametrize("content", OTHERS)
def test_so_it_does_where_there_was_next_to_nothing(tmp_path: Path, content: bytes | None) -> None:
    ours = at(tmp_path, "cursor", content)
    assert ours.install(ENTRY)
    assert names(ours) == {"tandem": ENTRY}
    assert ours.uninstall()
    assert (ours.file.read_bytes() if ours.file.exists() else None) == content


@pytest.mark.parametrize("name", FILES)
def test_a_second_run_changes_nothing_and_leaves_no_second_backup(tmp_path: Path, name: Name) -> None:
    ours = at(tmp_path, name, FILES[name])
    written = ours.install(ENTRY)
    assert written and written.backup and written.backup.read_bytes() == FILES[name]
    seen = ours.file.stat()
    assert ours.install(ENTRY) is None
    assert (ours.file.stat().st_mtime_ns, ours.file.stat().st_ino) == (seen.st_mtime_ns, seen.st_ino)
    assert backups(ours.file) == [written.backup]
    assert ours.uninstall() and ours.uninstall() is None


def test_what_was_changed_since_stays_when_ours_is_taken_out(tmp_path: Path) -> None:
    ours = at(tmp_path, "claude-desktop", FILES["claude-desktop"])
    ours.install(ENTRY)
    text = ours.file.read_text().replace("Ctrl+Space", "Alt+Space")
    ours.file.write_text(text)
    ours.uninstall()
    assert ours.file.read_text() == FILES["claude-desktop"].decode().replace("Ctrl+Space", "Alt+Space")


def test_two_versions_of_ours_are_taken_out_in_one_step(tmp_path: Path) -> None:
    ours = at(tmp_path, "vscode", FILES["vscode"])
    ours.install(ENTRY)
    assert ours.install({**ENTRY, "args": ["mcp"]})
    assert names(ours)["tandem"]["args"] == ["mcp"]
    ours.uninstall()
    assert ours.file.read_bytes() == FILES["vscode"]


def test_settings_that_somebody_has_added_to_our_entry_stay() -> None:
    old = {
        "command": "/old/tandem",
        "args": [],
        "env": {"TANDEM_DATA": "/old", "OPENAI_API_KEY": "k"},
        "disabled": True,
        "url": "http://127.0.0.1:8000/mcp",
    }
    assert merged(old, {"command": "/new"}) == {
        "command": "/new",
        "args": [],
        "disabled": True,
        "env": {"OPENAI_API_KEY": "k"},
    }
    assert merged(merged(old, ENTRY), ENTRY) == merged(old, ENTRY)
    assert data_of(merged(old, ENTRY)) == "/srv/index"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{\n  "mcpServers": {\n    "a": {}\n    "b": {}\n}}', "line 4, column 5: a comma or } was expected"),
        (b'{"mcpServers": []}', "line 1, column 16: an object"),
        (b"[]", "line 1, column 1: an object"),
        ('{"mcpServers": {}}'.encode("utf-16"), "text in UTF-8"),
    ],
)
def test_a_broken_file_is_refused_and_not_touched(tmp_path: Path, content: bytes, words: str) -> None:
    ours = at(tmp_path, "cursor", content)
    with pytest.raises(Refused, match=f"{ours.file}.*{words}"):
        ours.install(ENTRY)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("settings.json", content)]


# --- how it is written


def test_a_link_stays_a_link_and_the_mode_stays_too(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "mcp.json"
    real.write_bytes(b"{}")
    real.chmod(0o640)
    ours = at(tmp_path, "cursor", None)
    ours.file.symlink_to(real)
    written = ours.install(ENTRY)
    assert ours.file.is_symlink() and names(ours) == {"tandem": ENTRY}
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert written and written.backup and written.backup.parent == real.parent
    assert stat.S_IMODE(written.backup.stat().st_mode) == 0o640
    ours.uninstall()
    assert ours.file.is_symlink() and real.read_bytes() == b"{}"


def test_a_new_file_is_the_users_alone(tmp_path: Path) -> None:
    ours = at(tmp_path, "cursor", None)
    ours.install(ENTRY)
    assert stat.S_IMODE(ours.file.stat().st_mode) == 0o600


def test_a_file_that_the_client_writes_meanwhile_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(b"1")
    seen: list[bytes | None] = []

    def edit(before: bytes | None) -> bytes:
        seen.append(before)
        if len(seen) < 3:
            file.write_bytes(b"%d" % (len(seen) + 1))
        return (before or b"") + b"!"

    written = replaced(file, edit)
    assert seen == [b"1", b"2", b"3"]
    assert file.read_bytes() == b"3!"
    assert written and written.backup and written.backup.read_bytes() == b"3"
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["settings.json", written.backup.name])


def test_a_client_that_never_stops_writing_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(b"")

    def edit(before: bytes | None) -> bytes:
        file.write_bytes((before or b"") + b"1")
        return b"ours"

    with pytest.raises(Refused, match="quit the client"):
        replaced(file, edit)
    assert [one.name for one in tmp_path.iterdir()] == ["settings.json"]


def test_a_folder_that_may_not_be_written_is_said() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        ours = at(Path(folder), "cursor", b"{}")
        Path(folder).chmod(0o555)
        with as_nobody(), pytest.raises(Refused, match="let this user read and write it"):
            ours.install(ENTRY)


@contextmanager
def as_nobody() -> Generator[None]:
    """Where this is root, who may write everywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


# --- where


WINDOWS = {"APPDATA": r"C:\Users\me\AppData\Roaming", "LOCALAPPDATA": r"C:\Users\me\AppData\Local"}
PACKAGE = (
    r"C:\Users\me\AppData\Local\Packages\Claude_pzs8sxrjxfjjc\LocalCache\Roaming\Claude\claude_desktop_config.json"
)


@pytest.mark.parametrize(
    ("name", "platform", "variables", "first"),
    [
        ("claude-desktop", "linux", {}, "/home/me/.config/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude/claude_desktop_config.json"),
        ("claude-desktop", "darwin", {}, "/home/me/Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", WINDOWS, PACKAGE),
        ("claude-desktop", "win32", {}, PACKAGE),
        ("claude-code", "linux", {}, "/home/me/.claude.json"),
        ("claude-code", "darwin", {"CLAUDE_CONFIG_DIR": "/x"}, "/x/.claude.json"),
        ("claude-code", "win32", WINDOWS, r"C:\Users\me\.claude.json"),
        ("cursor", "linux", {}, "/home/me/.cursor/mcp.json"),
        ("cursor", "darwin", {}, "/home/me/.cursor/mcp.json"),
        ("cursor", "win32", WINDOWS, r"C:\Users\me\.cursor\mcp.json"),
        ("vscode", "linux", {}, "/home/me/.config/Code/User/mcp.json"),
        ("vscode", "darwin", {}, "/home/me/Library/Application Support/Code/User/mcp.json"),
        ("vscode", "win32", WINDOWS, r"C:\Users\me\AppData\Roaming\Code\User\mcp.json"),
    ],
)
def test_each_clients_file_is_known_on_each_system(
    name: Name, platform: str, variables: dict[str, str], first: str
) -> None:
    home = r"C:\Users\me" if platform == "win32" else "/home/me"
    assert str(user_files(name, platform, variables, home)[0]) == first


def test_windows_has_claude_desktop_in_two_places_and_a_package_comes_first() -> None:
    _, classic = user_files("claude-desktop", "win32", WINDOWS, r"C:\Users\me")
    assert str(classic) == r"C:\Users\me\AppData\Roaming\Claude\claude_desktop_config.json"


def test_a_project_has_files_of_its_own_but_not_for_claude_desktop() -> None:
    found = [str(project_file(name, PurePosixPath("/code"))) for name in CLIENTS]
    assert found == ["None", "/code/.mcp.json", "/code/.cursor/mcp.json", "/code/.vscode/mcp.json"]
    assert project_file("vscode", PureWindowsPath(r"C:\code")) == PureWindowsPath(r"C:\code\.vscode\mcp.json")
    with pytest.raises(Refused, match="leave --project out"):
        target("claude-desktop", Path("/code"))


# --- which command


def test_the_command_is_the_script_beside_the_python_that_runs(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    assert own_command({}, str(python)) == [str(python), "-P", "-m", "bridge.cli"]
    for platform, script in (("linux", "tandem"), ("win32", "tandem.exe")):
        (tmp_path / script).touch()
        assert own_command({"UV": "/bin/uv"}, str(python), platform) == [str(tmp_path / script)]


def test_what_uvx_runs_from_its_cache_is_asked_of_uvx_again() -> None:
    python = "/home/me/.cache/uv/archive-v0/x1/bin/python"
    command = own_command({"UV": "/home/me/.local/bin/uv"}, python, "linux")
    assert (command[0], command[-1]) == ("/home/me/.local/bin/uvx", "tandem-rag")


# --- the command


@pytest.fixture
def here() -> Any:
    with place() as here:
        yield here


async def run(here: Place, *words: str | Path) -> Ended:
    return await here.tandem("install", *words, settings={"HOME": str(here.folder)})


async def test_it_says_where_it_wrote_and_what_to_do_next(here: Place) -> None:
    ended = await run(here, "cursor", "--watch", "docs")
    file = here.folder / ".cursor" / "mcp.json"
    assert (ended.status, ended.out.splitlines()[0]) == (0, f"Cursor has tandem now, in {file}")
    assert ended.out.splitlines()[1].startswith("next: restart Cursor")
    assert f"{file.parent} was not there: is Cursor installed?" in ended.err
    assert json.loads(file.read_text())["mcpServers"]["tandem"] == {
        "type": "stdio",
        "command": own_command({})[0],
        "args": [*own_command({})[1:], "mcp", "--watch", str(here.docs)],
        "env": {"TANDEM_DATA": str(here.data)},
    }
    again = await run(here, "cursor", "--watch", "docs")
    assert (again.out, again.err) == (f"nothing to change: {file} has tandem as it is asked for\n", "")
    gone = await run(here, "cursor", "--uninstall")
    assert gone.out.startswith(f"tandem is taken out of {file} (as it was: {file}.20")
    assert not file.exists()
    assert (await run(here, "cursor", "--uninstall")).out.startswith("nothing to take out")


async def test_print_shows_the_whole_file_and_writes_nothing(here: Place) -> None:
    text = '{\r\n  "mcpServers": {\r\n    "a": {} // mine\r\n  }\r\n}'
    file = here.write(".claude.json", text)
    shown = await run(here, "claude-code", "--print")
    assert shown.status == 0
    assert shown.out.startswith('{\r\n  "mcpServers": {\r\n    "a": {}, // mine\r\n    "tandem": {\r\n')
    assert file.read_bytes() == text.encode()
    assert {one.name for one in here.folder.iterdir()} == {"docs", ".claude.json"}
    assert (await run(here, "claude-code", "--uninstall", "--print")).out == text


async def test_a_mistake_is_said_in_one_line_and_nothing_is_written(here: Place) -> None:
    here.write(".cursor/mcp.json", '{"mcpServers": {"a" {}}}')
    broken = await run(here, "cursor")
    assert (broken.status, broken.out) == (1, "")
    assert broken.err.startswith(f"tandem: {here.folder}/.cursor/mcp.json, line 1, column 21: a colon was expected")
    missing = await run(here, "vscode", "--watch", "no-such")
    assert (missing.status, "--watch was expected to name a folder" in missing.err) == (1, True)
    assert (await run(here, "emacs")).status == 2


async def test_a_project_is_given_its_own_file(here: Place) -> None:
    assert (await run(here, "vscode", "--project")).status == 0
    assert "tandem" in json.loads((here.folder / ".vscode" / "mcp.json").read_text())["servers"]


def test_the_command_that_is_written_starts_from_any_folder_without_a_path(tmp_path: Path) -> None:
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "__init__.py").write_text("raise SystemExit('the wrong bridge')")
    for command in (own_command({}), own_command({}, str(Path(sys.executable).with_name("python3")), "win32")):
        said = subprocess.run(
            [*command, "--version"],
            cwd=tmp_path,
            env={key: value for key, value in environment().items() if key != "PATH"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.startswith("tandem ")
