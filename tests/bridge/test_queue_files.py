from pathlib import Path

import pytest

from bridge import paired, queue_files, queue_server
from bridge.paired import Paired
from bridge.service import BadInput
from bridge.settings import WrongSetting, load

ACL = queue_files.template("users.acl")
HASH = "a" * 64


def test_the_rules_are_those_of_compose_and_follow_the_streams_name() -> None:
    as_it_is = queue_files.users(ACL, "inference_queue")
    assert {f"user {role} on #SHA256_OF_{role} {rules}" for role, rules in as_it_is.rules.items()} == {
        *ACL.splitlines()[1:]
    }
    ours = queue_files.users_acl(queue_files.users(ACL, "ours"), {})
    assert "inference_queue" not in ours
    assert ours.count("embedding_queue") == ours.count("ours:embedding_queue") > 0


def test_a_machine_may_what_its_role_may_now_and_nobody_comes_in_by_a_role_without_a_password() -> None:
    users = queue_files.users(ACL, "q")
    written = f"user bridge-anna on sanitize-payload #{HASH} ~old resetchannels -@all +get\nuser once-1 on #{HASH} ~q\n"
    machines, others = queue_files.kept(f"{written}user default off\nuser grafana on #{HASH} ~* +info\n", users)
    assert (machines, others) == ({"bridge-anna": [HASH]}, [f"user grafana on #{HASH} ~* +info"])
    lines = queue_files.users_acl(users, machines, others).splitlines()
    assert lines[0] == ACL.splitlines()[0]
    assert f"user bridge-anna on #{HASH} {users.rules['bridge']}" in lines
    assert {line.split()[2] for line in lines if line.split()[1] in users.rules} == {"off"}
    assert others[0] in lines and "once-1" not in "".join(lines)


def test_a_machine_that_somebody_has_set_off_by_hand_stays_out() -> None:
    users = queue_files.users(ACL, "q")
    machines, others = queue_files.kept(f"user worker-one off sanitize-payload #{HASH} ~q -@all\n", users)
    assert f"user worker-one off {users.rules['worker']}" in queue_files.users_acl(users, machines, others).splitlines()


def test_redis_conf_keeps_what_somebody_has_added_to_it() -> None:
    first = queue_files.redis_conf(queue_files.template("redis.conf"), {"tls-port": "1", "dir": '"/a b"'})
    again = queue_files.redis_conf(first + "maxmemory 2gb\n", {"tls-port": "2", "dir": '"/a b"'})
    lines = again.splitlines()
    assert {"port 0", "tls-port 2", 'dir "/a b"', "maxmemory 2gb", "maxmemory-policy noeviction"} <= {*lines}
    assert len([line for line in lines if line.startswith(("dir ", "tls-port "))]) == 2


# --- what is made on a disk


def made(data: Path, *addresses: str, key: str = "inference_queue", port: int | None = None) -> int:
    (data / "queue").mkdir(parents=True, exist_ok=True)
    return queue_server.make(data, key, addresses, port)


def test_a_second_time_nothing_is_made_anew_but_what_is_asked_for(tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    assert made(tmp_path, "10.0.0.2", "Box.Example", port=7000) == 7000
    first = files()
    assert made(tmp_path) == 7000
    assert files() == first
    made(tmp_path, "10.0.0.3")
    assert {Path(name).name for name, data in files().items() if first[name] != data} == {"redis.crt", "redis.key"}
    assert queue_server.reachable(tmp_path) == ("10.0.0.3", "10.0.0.2", "box.example")
    made(tmp_path, port=7001)
    entry = paired.read(tmp_path, "admin")
    assert entry and entry.where == "127.0.0.1:7001"


def test_what_only_this_machine_calls_a_queue_is_in_a_code_where_there_is_nothing_else(tmp_path: Path) -> None:
    made(tmp_path, "localhost", "redis")  # as compose/server.yaml does without QUEUE_ADDRESS
    assert queue_server.reachable(tmp_path) == ("redis", "127.0.0.1")
    made(tmp_path, "box.example", "redis")
    assert queue_server.reachable(tmp_path) == ("box.example", "redis")


def test_a_queue_keeps_the_streams_name_that_it_was_made_for(tmp_path: Path) -> None:
    made(tmp_path, "box.example", key="ours")
    made(tmp_path)
    entry = paired.read(tmp_path, "worker")
    assert entry and entry.stream_key == "ours"
    with pytest.raises(WrongSetting, match="was made for REDIS_STREAM_KEY=ours, it is theirs now"):
        made(tmp_path, key="theirs")


@pytest.mark.parametrize("key", ["two words", "a*", "~", "k\n", "k%"])
def test_a_name_that_would_mean_something_else_in_the_rules_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(WrongSetting, match="REDIS_STREAM_KEY was expected to be"):
        made(tmp_path, key=key)
    assert not (tmp_path / "queue" / "users.acl").exists()


@pytest.mark.parametrize(
    "address", ["box:6379", "https://box", "a b", "", "-x", "10.0.0", "*.example", "[::1]", "fe80::1%eth0"]
)
def test_an_address_is_a_name_or_an_ip_address(tmp_path: Path, address: str) -> None:
    with pytest.raises(BadInput, match="without a port"):
        made(tmp_path, address)


def test_a_password_that_was_lost_is_made_anew_and_another_queues_is_left_alone(tmp_path: Path) -> None:
    made(tmp_path, "box.example")
    before = paired.read(tmp_path, "worker")
    theirs = Paired("rediss://worker-me@elsewhere:6379?ssl_ca_certs=/elsewhere/ca.crt", "secret", "theirs")
    paired.write(tmp_path, "worker", theirs)
    paired.file(tmp_path, "admin").unlink()
    made(tmp_path)
    assert before and before.key and paired.read(tmp_path, "worker") == theirs
    lines = {line.split()[1]: line for line in (tmp_path / "queue" / "users.acl").read_text().splitlines()}
    admin = paired.read(tmp_path, "admin")
    assert admin and queue_server.hashed(admin.key) in lines["admin"]
    assert lines["worker"].startswith("user worker off ~")


# --- the settings' lowest layer


def test_what_a_machine_is_paired_with_counts_where_nothing_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "data ü 𝄞").mkdir()
    data = str(tmp_path / "data ü 𝄞")
    for role in ("bridge", "worker"):
        url = paired.url(f"{role}-me", "::1", 7000, Path(data) / "ca.crt")
        paired.write(Path(data), role, Paired(url, f"{role}'s", "ours"))
    found = load(data, {}, tmp_path)
    assert (found.redis_url, found.redis_key) == (
        paired.url("bridge-me", "::1", 7000, Path(data) / "ca.crt"),
        "bridge's",
    )
    assert (found.redis_stream_key, found.engine) == ("ours", "redis")
    assert load(data, {}, tmp_path, roles=("admin", "worker")).redis_key == "worker's"
    assert load(data, {}, tmp_path, roles=("admin",)).redis_url is None
    assert load(data, {"REDIS_STREAM_KEY": "mine", "TANDEM_ENGINE": "extractive"}, tmp_path).redis_stream_key == "mine"


@pytest.mark.parametrize("where", ["environment", ".env", "tandem.toml"])
def test_another_queue_that_is_set_is_told_nothing_of_the_one_that_the_machine_is_paired_with(
    tmp_path: Path, where: str
) -> None:
    paired.write(tmp_path, "bridge", Paired("rediss://bridge-me@box:6379?ssl_ca_certs=/ca", "secret", "ours"))
    if where == ".env":
        (tmp_path / ".env").write_text("REDIS_URL=redis://other:1\n")
    elif where == "tandem.toml":
        (tmp_path / "tandem.toml").write_text('redis_url = "redis://other:1"\n')
    found = load(str(tmp_path), {"REDIS_URL": "redis://other:1"} if where == "environment" else {}, tmp_path)
    assert (found.redis_url, found.redis_key, found.redis_stream_key) == ("redis://other:1", None, "inference_queue")


def test_a_password_without_its_url_is_not_told_to_the_queue_that_the_machine_is_paired_with(tmp_path: Path) -> None:
    paired.write(tmp_path, "bridge", Paired("rediss://bridge-me@box:6379?ssl_ca_certs=/ca", "secret", "ours"))
    assert load(str(tmp_path), {"REDIS_KEY": "another's"}, tmp_path).redis_key == "secret"


def test_a_folder_that_was_moved_with_its_pairing_still_knows_whom_it_believes(tmp_path: Path) -> None:
    before, now = tmp_path / "before ü", tmp_path / "now %"
    ca = paired.folder(before) / "ca.crt"
    url = paired.url("bridge-me", "box", 6379, ca)
    paired.write(before, "bridge", Paired(url, "secret", "ours"))
    ca.write_text("a CA")
    assert load(str(before), {}, tmp_path).redis_url == url
    before.rename(now)
    moved = load(str(now), {}, tmp_path).redis_url
    assert moved == paired.url("bridge-me", "box", 6379, paired.folder(now) / "ca.crt")
    assert (known := paired.known(now, moved)) and known.ca.read_text() == "a CA"
    # A CA elsewhere is somebody's own, and its absence is told.
    paired.write(now, "bridge", Paired(url.replace("paired", "certificates"), "secret", "ours"))
    assert load(str(now), {}, tmp_path).redis_url == url.replace("paired", "certificates")


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    paired.folder(tmp_path).mkdir()
    paired.file(tmp_path, "bridge").write_text("redis_url = ")
    with pytest.raises(WrongSetting, match=r"paired/bridge\.toml was expected to be TOML"):
        load(str(tmp_path), {}, tmp_path)
