"""What belongs in the index by its name and by ignore files."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from indexer.rules import Rules, above
from indexer.scan import Seen, scan


def names(folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in sorted(scan([str(folder)]).files)]


def write(folder: Path, *paths: str, text: str = "lantern") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def ignoring(folder: Path, *lines: str, within: str = "", name: str = ".gitignore") -> None:
    write(folder, str(Path(within) / name), text="\n".join(lines) + "\n")


def left_out(folder: Path) -> dict[str, str]:
    return {str(Path(path).relative_to(folder)): why for path, why in scan([str(folder)]).left_out.items()}


def test_the_last_line_that_fits_wins(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "b.log", "c.txt")
    ignoring(tmp_path, "*.log", "!b.log")
    assert names(tmp_path) == ["b.log", "c.txt"]
    ignoring(tmp_path, "!b.log", "*.log")
    assert names(tmp_path) == ["c.txt"]


def test_a_deeper_ignore_file_wins_over_a_higher_one(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "sub/a.log", "sub/b.txt")
    ignoring(tmp_path, "*.log")
    ignoring(tmp_path, "!*.log", "b.txt", within="sub")
    assert names(tmp_path) == ["sub/a.log"]


def test_a_line_for_a_folder_says_nothing_of_a_file_in_it(tmp_path: Path) -> None:
    write(tmp_path, "sub/kept/a.log", "sub/kept/b.txt")
    ignoring(tmp_path, "*.log")
    ignoring(tmp_path, "!kept", within="sub")
    assert names(tmp_path) == ["sub/kept/b.txt"]


def test_our_ignore_file_wins_over_gits_in_the_same_folder_and_loses_to_a_deeper_one(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "sub/a.log")
    ignoring(tmp_path, "*.log")
    ignoring(tmp_path, "!*.log", name=".tandemignore")
    assert names(tmp_path) == ["a.log", "sub/a.log"]
    ignoring(tmp_path, "*.log", within="sub")
    assert names(tmp_path) == ["a.log"]


def test_nothing_in_an_ignored_folder_is_taken_in_again(tmp_path: Path) -> None:
    write(tmp_path, "out/a.txt", "kept/a.txt", "kept/b.txt")
    ignoring(tmp_path, "out", "!out/a.txt", "kept/*", "!kept/a.txt")
    assert names(tmp_path) == ["kept/a.txt"]


def test_what_a_folder_holds_can_be_ignored_but_for_some_of_it(tmp_path: Path) -> None:
    write(tmp_path, "out/a.txt", "out/b.txt")
    ignoring(tmp_path, "out/**", "!out/a.txt")
    assert names(tmp_path) == ["out/a.txt"]


def test_ignore_files_above_a_root_count_up_to_the_repositorys_top(tmp_path: Path) -> None:
    repository = tmp_path / "outer" / "repository"
    write(
        repository, "docs/guide/a.txt", "docs/guide/a.log", "docs/guide/a.tmp", "docs/guide/a.bak", "docs/guide/a.old"
    )
    ignoring(tmp_path / "outer", "*.txt")
    ignoring(repository, "*.log", "/docs/guide/*.tmp")
    ignoring(repository, "*.bak", within="docs", name=".tandemignore")
    (repository / ".git" / "info").mkdir(parents=True)
    (repository / ".git" / "info" / "exclude").write_text("*.old\n")
    assert names(repository / "docs" / "guide") == ["a.txt"]


def test_a_root_that_its_repository_ignores_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    ignoring(tmp_path, "build/", "*.txt")
    write(tmp_path, "build/a.txt", "build/sub/b.txt")
    assert names(tmp_path / "build") == ["a.txt", "sub/b.txt"]


def test_a_repository_within_another_is_its_own(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "inner/a.log", "inner/b.bak")
    ignoring(tmp_path, "*.log")
    ignoring(tmp_path, "*.bak", name=".tandemignore")
    (tmp_path / "inner" / ".git").mkdir()
    assert names(tmp_path) == ["inner/a.log"]


def test_a_line_that_cannot_be_understood_costs_only_itself(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "b.txt", "1x", "ax")
    ignoring(tmp_path, "[z-a]", "!", "\\", "[", "/", "x" * 600, "a[[]b--", "*.log", "[[:digit:]]x")
    assert names(tmp_path) == ["ax", "b.txt"]


def test_an_ignore_file_that_is_not_utf8_or_begins_with_a_mark_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "b.txt")
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("lantern")
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbf*.log\r\ncaf\xe9\r\n")
    assert names(tmp_path) == ["b.txt"]


def test_an_ignore_file_without_end_is_read_to_its_limit(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "b.txt")
    with (tmp_path / ".gitignore").open("w") as file:
        file.write("*.log\n" + "#" * 200_000)
        file.truncate(1 << 40)
    assert names(tmp_path) == ["b.txt"]


async def test_an_ignore_file_that_is_a_link_or_a_pipe_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "sub/a.log")
    (tmp_path / "elsewhere").write_text("*.log\n")
    (tmp_path / ".gitignore").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "sub" / ".tandemignore")
    with anyio.fail_after(30):
        assert await anyio.to_thread.run_sync(names, tmp_path) == ["a.log", "elsewhere", "sub/a.log"]


async def test_a_hostile_line_does_not_hold_up_the_scan(tmp_path: Path) -> None:
    write(tmp_path, "a" * 250, "(" * 250)
    ignoring(tmp_path, "*a" * 100 + "b", "*(" * 100 + "b", "*" * 300 + "b", "**/a/**/a/**/a/**/a/**/b")
    with anyio.fail_after(30):
        assert len(await anyio.to_thread.run_sync(names, tmp_path)) == 2


def test_hidden_and_generated_folders_are_left_out_without_a_word(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", ".hidden", ".notes/b.txt", "node_modules/c.txt", "venv/d.txt")
    assert names(tmp_path) == ["a.txt"]
    assert left_out(tmp_path) == {}


def test_a_line_of_our_ignore_file_takes_hidden_and_generated_folders_in_and_gits_does_not(tmp_path: Path) -> None:
    write(tmp_path, ".notes/a.txt", ".notes/.b.txt", "node_modules/c.txt", ".plan.md")
    ignoring(tmp_path, "!.notes/", "!node_modules", "!.plan.md")
    assert names(tmp_path) == []
    shutil.move(tmp_path / ".gitignore", tmp_path / ".tandemignore")
    assert names(tmp_path) == [".notes/a.txt", ".plan.md", "node_modules/c.txt"]


def test_a_line_that_names_nothing_takes_in_no_hidden_folder_and_no_secret(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.txt", "sub/c.md", ".git/config", ".notes/d.md", ".env", "node_modules/e.md", "f.pem")
    ignoring(tmp_path, "*", "!*/", "!*.md", "!*.pem", name=".tandemignore")
    assert names(tmp_path) == ["a.md", "f.pem", "sub/c.md"]
    ignoring(tmp_path, "!.*", "!*", "!*/", name=".tandemignore")
    assert names(tmp_path) == [".notes/d.md", ".tandemignore", "a.md", "b.txt", "sub/c.md"]
    assert left_out(tmp_path).keys() == {".env", "f.pem"}


SECRETS = """.env .env.local .envrc prod.env server.pem tls.p12 store.jks vault.kdbx putty.ppk id_rsa id_ed25519
id_ed25519_work id_rsa.bak .netrc _netrc .npmrc .pypirc .git-credentials .pgpass .htpasswd credentials credentials.json
client_secret_1.json service-account-prod.json secrets.yml secrets.yaml terraform.tfstate terraform.tfstate.backup
terraform.tfvars deploy.key ID_RSA Server.PEM kubeconfig .bash_history""".split()
ORDINARY = """secrets.md credentials.md id_rsa.pub id_rsa-howto.md sample.env env.md environment.txt pem.txt keys.txt
example.tfvars package.json client.json service.json key.md token.txt tfstate.md passwords.md npmrc.md""".split()


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_left_out_with_a_reason_and_taken_in_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert names(tmp_path) == []
    why = left_out(tmp_path)[name]
    assert f"a line !{name} in a .tandemignore takes it in" in why
    ignoring(tmp_path, f"!{name}")
    assert names(tmp_path) == []
    ignoring(tmp_path, f"!{name}", name=".tandemignore")
    assert (names(tmp_path), left_out(tmp_path)) == ([name], {})


def test_documents_that_speak_of_secrets_are_no_secrets(tmp_path: Path) -> None:
    write(tmp_path, *ORDINARY)
    assert names(tmp_path) == sorted(ORDINARY)


def test_a_secret_that_our_ignore_file_names_is_not_spoken_of(tmp_path: Path) -> None:
    write(tmp_path, ".env", "a.pem")
    ignoring(tmp_path, ".env", "*.pem", name=".tandemignore")
    assert left_out(tmp_path) == {}


def test_folders_of_keys_are_told_of_as_one(tmp_path: Path) -> None:
    write(tmp_path, ".ssh/id_rsa", ".ssh/config", "a.txt")
    assert left_out(tmp_path).keys() == {".ssh"}
    ignoring(tmp_path, "!.ssh/", name=".tandemignore")
    assert names(tmp_path) == [".ssh/config", "a.txt"]
    assert left_out(tmp_path).keys() == {".ssh/id_rsa"}


def test_a_presentation_and_a_signature_are_told_from_keys_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "talk.key").write_bytes(b"PK\x03\x04")
    (tmp_path / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "guide.asc").write_text("= A guide\n")
    (tmp_path / "mine.asc").write_text("-----BEGIN PGP PRIVATE KEY BLOCK-----\n")
    assert names(tmp_path) == ["guide.asc", "talk.key"]
    assert left_out(tmp_path).keys() == {"mine.asc", "tls.key"}


def test_a_folder_without_ignore_files_costs_no_rules_of_its_own(tmp_path: Path) -> None:
    rules = above(str(tmp_path))
    assert rules == Rules()
    assert rules.inside(str(tmp_path)) is rules


def git_takes(folder: Path) -> list[str]:
    git = ["git", "-C", str(folder), "-c", "core.excludesFile=/dev/null"]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run([*git, "ls-files", "-oz", "--exclude-standard"], check=True, capture_output=True).stdout
    return sorted(path for path in listed.decode().split("\0") if path and ".gitignore" not in path)


@pytest.mark.skipif(not shutil.which("git"), reason="compares with git, which is not installed")
@pytest.mark.parametrize("seed", range(30))
def test_git_takes_the_same_files(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    parts = ["a", "b", "ab", "abc", "c.x", "d.y", "ba.x"]
    for _ in range(60):
        *folders, name = dice.choices(parts, k=dice.randint(1, 4))
        folder = tmp_path.joinpath(*(f"{part}_" for part in folders))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shapes = ["a", "b*", "*.x", "a_", "b_", "*", "?b", "[ab]_", "**", "[!a]*", "ab_", "*_", "c.*", "a*b*c", "[a-b]*.?"]

    def line() -> str:
        text = "/".join(dice.choices(shapes, k=dice.choice([1, 1, 1, 2, 2, 3])))
        return dice.choice(["", "", "!"]) + dice.choice(["", "", "/"]) + text + dice.choice(["", "", "/", "/*", "/**"])

    places = [tmp_path, *dice.sample(sorted(tmp_path.rglob("*_")), 3)]
    for place in places:
        (place / ".gitignore").write_text("\n".join(line() for _ in range(dice.randint(1, 5))))
    assert names(tmp_path) == git_takes(tmp_path)


def test_what_is_seen_names_no_secret_that_another_root_takes_in(tmp_path: Path) -> None:
    write(tmp_path, ".ssh/known.txt")
    seen: Seen = scan([str(tmp_path), str(tmp_path / ".ssh")])
    assert list(seen.files) == [str(tmp_path / ".ssh" / "known.txt")]
