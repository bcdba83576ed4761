"""The index never lies: killed again and again while the files change, it ends as a fresh index of the same tree.

500 seeds instead of 25: `python -m benchmarks.convergence`.
"""

import sys

import pytest

from tests.indexer.converging import NotHere, outcomes
from tests.indexer.lives import Mode

SEEDS = 25


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="orphans, privileges and file events as Linux has them")
@pytest.mark.parametrize("mode", ["once", "watching"])
def test_an_index_that_was_killed_while_its_files_changed_ends_as_a_fresh_one(mode: Mode) -> None:
    try:
        found = list(outcomes(mode, range(SEEDS)))
    except NotHere as error:
        pytest.skip(str(error))
    wrong = {one.seed: (one.differences, one.did) for one in found if one.differences}
    assert not wrong
    assert [one.seed for one in found] == list(range(SEEDS))
    # What has not been through anything proves nothing.
    assert sum(one.kills for one in found) >= SEEDS
    assert sum(one.chunks for one in found) >= 10 * SEEDS
    assert sum(one.failed for one in found) > 0
