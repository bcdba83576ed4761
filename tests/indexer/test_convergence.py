"""The index never lies: killed again and again while its files change, it ends as a fresh index of the same tree.

500 seeds instead of 25: `python -m benchmarks.convergence`.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.indexer.converging import NotHere, Outcome, outcomes
from tests.indexer.lives import MODES, Mode

SEEDS = 25


@pytest.fixture(scope="module")
def found() -> dict[Mode, list[Outcome]]:
    """Both modes at once, each in a process of its own."""
    with ThreadPoolExecutor(len(MODES)) as threads:
        runs = {mode: threads.submit(lambda mode: list(outcomes(mode, range(SEEDS))), mode) for mode in MODES}
    try:
        return {mode: run.result() for mode, run in runs.items()}
    except NotHere as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="orphans, privileges and file events as Linux has them")
@pytest.mark.parametrize("mode", MODES)
def test_an_index_that_was_killed_while_its_files_changed_ends_as_a_fresh_one(
    found: dict[Mode, list[Outcome]], mode: Mode
) -> None:
    wrong = {one.seed: (one.differences, one.did) for one in found[mode] if one.differences}
    assert not wrong
    assert [one.seed for one in found[mode]] == list(range(SEEDS))
    # What has been through nothing proves nothing.
    assert sum(one.kills for one in found[mode]) >= SEEDS // 2
    assert sum(one.chunks for one in found[mode]) >= 10 * SEEDS
    assert sum(one.failed for one in found[mode]) > 0
