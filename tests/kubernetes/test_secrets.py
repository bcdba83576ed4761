"""What secrets.sh makes, held to a real Redis: each role comes in by its name, and KEDA's may know one number."""

import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from tests.kubernetes.resolving import ROOT
from tests.processes import until

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs OpenSSL 3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubernetes") / "secrets"
    subprocess.run(["sh", ROOT / "secrets.sh", folder], check=True)
    return folder


def test_they_are_for_their_owner_alone_and_made_once(folder: Path) -> None:
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "SHA256_OF" not in before["users.acl"].decode()
    again = subprocess.run(["sh", ROOT / "secrets.sh", folder], capture_output=True, text=True, check=True)
    assert "nothing was made" in again.stderr
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.fixture
def server(folder: Path, tmp_path: Path, port: int, redis_binary: str) -> Iterator[int]:
    config = (folder / "redis.conf").read_text().replace("/run/secrets/", f"{folder}/")
    (tmp_path / "redis.conf").write_text(config)
    told = subprocess.run([redis_binary, "--tls-port", "x"], capture_output=True, text=True, check=False)
    if "Bad directive" in told.stdout + told.stderr:
        pytest.skip("this redis-server has no TLS")
    words = [redis_binary, tmp_path / "redis.conf", "--tls-port", str(port), "--dir", tmp_path, "--daemonize", "no"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        yield port
        process.terminate()


def client(folder: Path, port: int, user: str) -> Any:
    password = (folder / f"{user}.password").read_text()
    place = {"host": "127.0.0.1", "port": port, "ssl": True, "ssl_ca_certs": str(folder / "ca.crt")}
    return Redis(username=user, password=password, decode_responses=True, **place)


async def test_the_scaler_knows_how_long_the_queue_is_and_nothing_else(folder: Path, server: int) -> None:
    admin, scaler = client(folder, server, "admin"), client(folder, server, "scaler")

    async def up() -> bool:
        try:
            return admin.ping()
        except RedisError:
            return False

    await until(up)
    entries = [admin.xadd("inference_queue", {"data": "{}"}) for _ in range(3)]
    assert scaler.ping()
    assert scaler.xlen("inference_queue") == 3
    for forbidden in (
        lambda: scaler.xlen("embedding_queue"),
        lambda: scaler.xrange("inference_queue"),
        lambda: scaler.xadd("inference_queue", {"data": "{}"}),
        lambda: scaler.keys("*"),
        lambda: scaler.publish("result:1", ""),
    ):
        with pytest.raises(NoPermissionError):
            forbidden()

    # Why it is not the group's lag: a job that is cancelled while it waits leaves a hole, and Redis stops counting.
    admin.xgroup_create("inference_queue", "gpu_workers", id="0")
    admin.xreadgroup("gpu_workers", "one", {"inference_queue": ">"}, count=1)
    assert admin.xinfo_groups("inference_queue")[0]["lag"] == 2
    admin.xdel("inference_queue", entries[1])
    assert admin.xinfo_groups("inference_queue")[0]["lag"] is None
    assert scaler.xlen("inference_queue") == 2
