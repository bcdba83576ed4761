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
    """Of all seeds, in several processes at once: much of a daemon's life is waiting."""
    shares: list[tuple[Mode, range]] = [("once", range(SEEDS)), *(("watching", range(n, SEEDS, 3)) for n in range(3))]
    with ThreadPoolExecutor(len(shares)) as threads:
        runs = [threads.submit(lambda share: list(outcomes(*share)), share) for share in shares]
    try:
        every = [one for run in runs for one in run.result()]
    except NotHere as error:
        pytest.skip(str(error))
    return {mode: [one for one in every if one.mode == mode] for mode in MODES}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="orphans, privileges and file events as Linux has them")
@pytest.mark.parametrize("mode", MODES)
def test_an_index_that_was_killed_while_its_files_changed_ends_as_a_fresh_one(
    found: dict[Mode, list[Outcome]], mode: Mode
) -> None:
    wrong = {one.seed: (one.differences, one.did) for one in found[mode] if one.differences}
    assert not wrong
    assert sorted(one.seed for one in found[mode]) == list(range(SEEDS))
    # What has been through nothing proves nothing.
    assert sum(one.kills for one in found[mode]) >= SEEDS // 2
    assert sum(one.chunks for one in found[mode]) >= 10 * SEEDS
    assert sum(one.failed for one in found[mode]) > 0
