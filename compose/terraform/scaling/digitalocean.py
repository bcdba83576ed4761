"""DigitalOcean's API, as far as machines are made and ended with it: https://docs.digitalocean.com/reference/api/

GET    /v2/droplets?tag_name=TAG&per_page=200   {"droplets": […], "links": {"pages": {"next": URL}}}
POST   /v2/droplets                             202 {"droplet": …}: asked for, not there yet
DELETE /v2/droplets/ID                          204; 404: gone already
An error's body is {"id": …, "message": …}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

API = "https://api.digitalocean.com"


class CloudAway(Exception):
    """DigitalOcean refused, or did not answer; the message says what it was asked and what it said."""


@dataclass(frozen=True, slots=True)
class Droplet:
    """`made`: seconds since 1970. `address`: within the private network, once it has one."""

    id: int
    name: str
    status: str
    made: float
    address: str | None


class Cloud:
    """The machines with one tag: none but these is ever seen or ended, though the token could end any of the team's."""

    def __init__(self, client: httpx.AsyncClient, tag: str) -> None:
        self._client, self._tag = client, tag

    async def droplets(self) -> list[Droplet]:
        found: list[Droplet] = []
        query: Mapping[str, str | int] = {"tag_name": self._tag, "per_page": 200}
        page = 1
        while page:
            told = await self._told("GET", "/v2/droplets", params={**query, "page": page})
            found += [_droplet(one) for one in told["droplets"] if self._tag in one["tags"]]
            page = page + 1 if told.get("links", {}).get("pages", {}).get("next") else 0
        return found

    async def make(self, name: str, like: Mapping[str, Any], user_data: str) -> Droplet:
        """`like`: region, size, image, vpc_uuid, ssh_keys and tags, the one of all these machines among them."""
        assert self._tag in like["tags"], "a machine without the tag would be forgotten, and billed"
        told = await self._told("POST", "/v2/droplets", json={**like, "name": name, "user_data": user_data})
        return _droplet(told["droplet"])

    async def destroy(self, droplet_id: int) -> None:
        """Gone already is gone."""
        await self._told("DELETE", f"/v2/droplets/{droplet_id}", gone_is_fine=True)

    async def _told(self, method: str, path: str, *, gone_is_fine: bool = False, **asked: Any) -> Any:
        try:
            response = await self._client.request(method, path, **asked)
            if gone_is_fine and response.status_code == 404:
                return {}
            if not response.is_success:
                raise CloudAway(f"{method} {path}: DigitalOcean answered {response.status_code}, {_words(response)}")
            return response.json() if response.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise CloudAway(
                f"{method} {path}: DigitalOcean gave no answer ({error or type(error).__name__})"
            ) from error


def _droplet(told: Mapping[str, Any]) -> Droplet:
    private = [one["ip_address"] for one in told["networks"].get("v4", []) if one["type"] == "private"]
    made = datetime.fromisoformat(told["created_at"]).timestamp()
    return Droplet(told["id"], told["name"], told["status"], made, private[0] if private else None)


def _words(response: httpx.Response) -> str:
    try:
        words = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        words = "without a word of its own"
    hint = {
        401: ": the token in /etc/tandem/digitalocean.token is not, or no longer, good",
        403: ": the token needs the scopes that README.md names",
        429: ": too many calls this hour",
    }
    return words + hint.get(response.status_code, "")
