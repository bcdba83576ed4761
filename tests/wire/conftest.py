"""For tests of the Redis adapter: a stream of the test's own, and a peer that speaks to the server without us."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(redis_url) as redis:
        yield redis
