"""One queue for the tests of each file."""

from collections.abc import Generator

import pytest

from bridge import queue_server
from bridge.service import Unavailable
from tests.conftest import free_port
from tests.pairing.box import Box, a_queue
from tests.processes import place


@pytest.fixture(scope="module")
def able() -> None:
    try:
        queue_server.redis_server()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def box(able: None) -> Generator[Box]:
    with place() as here:
        port = free_port()
        with a_queue(here, "--address", "127.0.0.1", "--port", str(port)):
            yield Box(here, port)
