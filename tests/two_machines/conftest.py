"""These tests make hosts. Where that cannot be done they are skipped; with TANDEM_TEST_HOSTS_REQUIRED=1 they fail."""

import os

import pytest

from tests.two_machines.hosts import NoHosts, hosts


@pytest.fixture(scope="session", autouse=True)
def hosts_can_be_made(redis_binary: str) -> None:
    try:
        with hosts("one", "other", delay_ms=1):
            pass
    except NoHosts as error:
        if os.environ.get("TANDEM_TEST_HOSTS_REQUIRED"):
            pytest.fail(f"hosts are required here: {error}")
        pytest.skip(str(error))
