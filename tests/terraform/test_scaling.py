"""The program on the queue's machine, against a local server that answers as DigitalOcean's API is published."""

import json
import re
import stat
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import digitalocean
import httpx
import pytest
from digitalocean import CloudAway
from machines import read
from scale import Place, look

NOON = 1_700_049_600.0
TOKEN = "dop_v1_of_a_test"
TAGS = ["tandem", "tandem-gpu", "tandem-gpu-scaled"]
LIKE = {
    "region": "tor1",
    "size": "gpu-4000adax1-20gb",
    "image": "gpu-h100x1-base",
    "vpc_uuid": "5a49",
    "ssh_keys": ["3b:16"],
    "tags": TAGS,
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO tandem-scaling"


@dataclass
class Cloud:
    """What DigitalOcean has. `says`: what it answers instead, (status, message). `locked`: one that it does not end."""

    droplets: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    says: tuple[int, str] | None = None
    locked: int | None = None
    page: int = 200
    url: str = ""

    def has(
        self, id_: int, name: str, made: float = NOON - 3600, tags: list[str] = TAGS, status: str = "active"
    ) -> None:
        at = datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        networks = {
            "v4": [
                {"ip_address": "198.51.100.4", "netmask": "255.255.255.0", "gateway": "198.51.100.1", "type": "public"},
                {"ip_address": f"10.77.0.{id_}", "netmask": "255.255.240.0", "gateway": "", "type": "private"},
            ],
            "v6": [],
        }
        new = {"v4": [], "v6": []}
        self.droplets[id_] = {
            "id": id_,
            "name": name,
            "status": status,
            "created_at": at,
            "networks": new if status == "new" else networks,
            "tags": list(tags),
        }


@pytest.fixture
def cloud() -> Generator[Cloud]:
    known = Cloud()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _send(self, status: int, body: Any = None) -> None:
            raw = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            known.asked.append((self.command, self.path, body))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return self._send(401, {"id": "Unauthorized", "message": "Unable to authenticate you"})
            if known.says and self.command != "GET":
                return self._send(known.says[0], {"id": "unprocessable_entity", "message": known.says[1]})
            if self.command == "POST":
                id_ = max(known.droplets, default=100) + 1
                known.has(id_, body["name"], NOON, body["tags"], "new")
                return self._send(202, {"droplet": known.droplets[id_], "links": {"actions": []}})
            if self.command == "DELETE":
                if parts.path.endswith(f"/{known.locked}"):
                    return self._send(422, {"id": "unprocessable_entity", "message": "locked"})
                gone = known.droplets.pop(int(parts.path.rsplit("/", 1)[1]), None)
                return self._send(204) if gone else self._send(404, {"id": "not_found", "message": "gone"})
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            found = [one for one in known.droplets.values() if query["tag_name"] in one["tags"]]
            page, size = int(query.get("page", 1)), min(known.page, int(query["per_page"]))
            shown, rest = found[(page - 1) * size : page * size], found[page * size :]
            links = {"pages": {"next": f"{known.url}/v2/droplets?page={page + 1}"}} if rest else {}
            return self._send(200, {"droplets": shown, "links": links, "meta": {"total": len(found)}})

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(cloud: Cloud, tmp_path: Path) -> Place:
    """A queue of which `queue.json` is what `tandem workers` says; `calls` is what was run, a line each."""
    etc, state = tmp_path / "etc", tmp_path / "state"
    etc.mkdir()
    state.mkdir()
    limits = {"most": 2, "fewest": 0, "hours_per_day": 8, "grow_wait_s": 30}
    limits |= {"shrink_after_s": 900, "cooldown_s": 300, "boot_limit_s": 2700}
    like = {
        "region": "tor1",
        "size": "gpu-4000adax1-20gb",
        "image": "gpu-h100x1-base",
        "vpc_uuid": "5a49",
        "tags": TAGS,
    }
    told = {"limits": limits, "scaled": like | {"ssh_keys": ["3b:16"]}}
    (etc / "scaling.json").write_text(json.dumps(told))
    (etc / "scaled.yaml").write_text('#cloud-config\nwrite_files: [{"content":"QUEUE_KEY=\'@QUEUE_KEY@\'\\n"}]\n')
    (etc / "scaling.key.pub").write_text(f"{KEY}\n")
    tandem, ssh = tmp_path / "tandem", tmp_path / "ssh"
    tandem.write_text(
        f"""#!/bin/sh
echo "tandem $*" >> {tmp_path}/calls
case "$1 $2" in
  "workers --json") cat {tmp_path}/queue.json ;;
  "pair --role") echo the-code; while [ ! -e {tmp_path}/redeemed ]; do sleep 0.05; done; rm {tmp_path}/redeemed ;;
esac
"""
    )
    ssh.write_text(
        f"""#!/bin/sh
for word; do :; done
echo "ssh $word $*" >> {tmp_path}/calls
if [ -e {tmp_path}/unreachable ]; then echo 'Connection refused' >&2; exit 255; fi
if [ "$word" = join ]; then cat > {tmp_path}/told; touch {tmp_path}/redeemed; fi
"""
    )
    for program in (tandem, ssh):
        program.chmod(0o700)
    return Place(etc, state, TOKEN, str(tandem), str(ssh), cloud.url)


def queue(place: Place, *workers: tuple[str, int], waiting: int = 0, wait_s: float | None = None) -> None:
    """`workers`: (host, jobs under way)."""
    live = [{"name": f"{host}-12-abc123", "state": "ready", "slots": 8, "in_flight": jobs} for host, jobs in workers]
    streams = [{"name": "inference_queue", "depth": waiting, "waiting": waiting, "wait_s": wait_s}]
    told = {"waiting": waiting, "streams": streams, "workers": live}
    place.etc.with_name("queue.json").write_text(json.dumps(told))


def calls(place: Place) -> list[str]:
    file = place.etc.with_name("calls")
    return [" ".join(line.split()[:2]) for line in file.read_text().splitlines()] if file.exists() else []


def gone(cloud: Cloud) -> list[str]:
    return [path for method, path, _ in cloud.asked if method == "DELETE"]


async def test_jobs_that_wait_make_a_machine_that_no_secret_is_told(cloud: Cloud, place: Place) -> None:
    queue(place, ("gpu-0", 8), waiting=20, wait_s=60)
    await look(place, NOON)
    (body,) = [body for method, _, body in cloud.asked if method == "POST"]
    assert re.fullmatch(r"tandem-gpu-scaled-[0-9a-f]{6}", body["name"])
    assert len(body["name"]) <= 40, "the queue's users have shorter names than machines may have"
    assert {name: body[name] for name in LIKE} == LIKE
    assert body["user_data"] == f'#cloud-config\nwrite_files: [{{"content":"QUEUE_KEY=\'{KEY}\'\\n"}}]\n'
    assert TOKEN not in json.dumps(body)


async def test_a_machine_that_came_up_is_paired_once_with_a_code_that_no_list_of_processes_shows(
    cloud: Cloud, place: Place
) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa", NOON - 300)
    queue(place, ("gpu-0", 0))
    await look(place, NOON)
    await look(place, NOON + 60)
    assert calls(place).count("ssh join") == 1
    assert place.etc.with_name("told").read_text() == "the-code\n"
    assert "the-code" not in place.etc.with_name("calls").read_text()
    assert "root@10.77.0.7" in place.etc.with_name("calls").read_text()
    assert "HostKeyAlias=droplet-7" in place.etc.with_name("calls").read_text()


async def test_a_machine_without_an_address_or_an_answer_is_waited_for(cloud: Cloud, place: Place) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa", NOON - 60, status="new")
    queue(place, ("gpu-0", 0))
    await look(place, NOON)
    assert calls(place) == ["tandem workers"]
    cloud.has(7, "tandem-gpu-scaled-aaaaaa", NOON - 60)
    place.etc.with_name("unreachable").touch()
    await look(place, NOON + 60)
    assert calls(place)[-1] == "ssh ready"
    assert not gone(cloud)


async def test_after_a_long_calm_a_machine_drains_and_only_then_is_gone(cloud: Cloud, place: Place) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa")
    queue(place, ("gpu-0", 0), ("tandem-gpu-scaled-aaaaaa", 0))
    await look(place, NOON)
    await look(place, NOON + 900)
    assert gone(cloud) == ["/v2/droplets/7"]
    assert calls(place)[-2:] == ["ssh drain", "tandem pair"]
    last = place.etc.with_name("calls").read_text().splitlines()[-1]
    assert last == "tandem pair --revoke worker-tandem-gpu-scaled-aaaaaa"


async def test_what_was_cut_off_while_a_machine_drained_is_done_by_the_next_look(cloud: Cloud, place: Place) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa")
    queue(place, ("gpu-0", 0), ("tandem-gpu-scaled-aaaaaa", 0))
    await look(place, NOON)
    cloud.says = (503, "not now")
    with pytest.raises(CloudAway, match="503, not now"):
        await look(place, NOON + 900)
    cloud.says = None
    queue(place, ("gpu-0", 8), waiting=20, wait_s=60)
    await look(place, NOON + 901)
    assert not cloud.droplets or 7 not in cloud.droplets


async def test_a_machine_that_somebody_else_ended_is_gone_and_no_fault(cloud: Cloud) -> None:
    async with httpx.AsyncClient(base_url=cloud.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        await digitalocean.Cloud(client, TAGS[-1]).destroy(7)
    assert gone(cloud) == ["/v2/droplets/7"]


async def test_a_machine_that_nobody_reaches_goes_all_the_same(cloud: Cloud, place: Place) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa", NOON - 2701)
    place.etc.with_name("unreachable").touch()
    queue(place, ("gpu-0", 0))
    await look(place, NOON)
    assert gone(cloud) == ["/v2/droplets/7"]


async def test_machines_without_the_tag_are_not_seen_and_further_pages_are(cloud: Cloud, place: Place) -> None:
    cloud.page = 1
    for id_ in (7, 8, 9):
        cloud.has(id_, f"tandem-gpu-scaled-aaaaa{id_}", NOON - 60)
    cloud.has(3, "tandem-queue", tags=["tandem", "tandem-queue"])
    cloud.has(4, "somebody-elses", tags=[])
    queue(place)
    await look(place, NOON, all_gone=True)
    assert sorted(gone(cloud)) == ["/v2/droplets/7", "/v2/droplets/8", "/v2/droplets/9"]
    assert sorted(cloud.droplets) == [3, 4]


async def test_a_queue_that_cannot_be_asked_makes_and_ends_nothing(cloud: Cloud, place: Place) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa")
    queue(place, ("gpu-0", 0), ("tandem-gpu-scaled-aaaaaa", 0))
    await look(place, NOON)
    place.etc.with_name("queue.json").write_text("no queue")
    for minute in range(1, 90, 30):
        await look(place, NOON + 60 * minute)
    assert [method for method, _, _ in cloud.asked] == ["GET"] * 4


async def test_a_refusal_is_told_in_words_and_without_the_token(cloud: Cloud, place: Place) -> None:
    queue(place, ("gpu-0", 8), waiting=20, wait_s=60)
    cloud.says = (422, "creating this/these droplet(s) will exceed your droplet limit")
    with pytest.raises(CloudAway, match=r"POST /v2/droplets: DigitalOcean answered 422, creating .* limit"):
        await look(place, NOON)
    stale = Place(place.etc, place.state, "stale", place.tandem, place.ssh, place.api)
    with pytest.raises(CloudAway, match=r"401, .*digitalocean\.token") as refused:
        await look(stale, NOON)
    assert "stale" not in str(refused.value)


async def test_a_refused_machine_is_not_asked_for_again_at_once(cloud: Cloud, place: Place) -> None:
    queue(place, ("gpu-0", 8), waiting=20, wait_s=60)
    cloud.says = (422, "no GPU is free")
    with pytest.raises(CloudAway):
        await look(place, NOON)
    await look(place, NOON + 60)
    assert [method for method, _, _ in cloud.asked].count("POST") == 1


async def test_a_machine_that_cannot_be_ended_keeps_no_other_alive(cloud: Cloud, place: Place) -> None:
    for id_ in (7, 8):
        cloud.has(id_, f"tandem-gpu-scaled-aaaaa{id_}", NOON - 60)
    cloud.locked = 7
    queue(place)
    with pytest.raises(CloudAway, match="422, locked"):
        await look(place, NOON, all_gone=True)
    assert list(cloud.droplets) == [7]


async def test_without_its_memory_it_goes_on_with_the_machines_that_there_are(cloud: Cloud, place: Place) -> None:
    cloud.has(7, "tandem-gpu-scaled-aaaaaa")
    queue(place, ("gpu-0", 8), ("tandem-gpu-scaled-aaaaaa", 8), waiting=20, wait_s=60)
    place.memory.write_text("{half")
    await look(place, NOON)
    assert len(cloud.droplets) == 2
    assert "ssh join" not in calls(place), "it works, so it is paired"
    assert not stat.S_IMODE(place.memory.stat().st_mode) & stat.S_IWOTH
    assert json.loads(place.memory.read_text())["worked"] == {"7": NOON}


def test_what_tandem_workers_says_is_read_as_it_is_printed() -> None:
    told = {
        "waiting": 3,
        "streams": [
            {"name": "inference_queue", "depth": 5, "waiting": 3, "wait_s": 12.5},
            {"name": "inference_queue:m", "depth": 0, "waiting": 0, "wait_s": 99.0},
        ],
        "workers": [
            {"name": "gpu-0-12-abc123", "state": "ready", "slots": 8, "in_flight": 2},
            {"name": "gpu-1-13-abc124", "state": "draining", "slots": 8, "in_flight": 1},
            {"name": "gpu-2-14-abc125", "state": "silent", "slots": 8, "in_flight": 0},
        ],
    }
    found = read(told)
    assert (found.load.waiting, found.load.wait_s, found.load.workers, found.load.slots) == (3, 12.5, 1, 8)
    assert found.on("gpu-0") == 2
    assert found.on("gpu") is None
    assert found.on("gpu-1") is None
