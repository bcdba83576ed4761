"""When GPU workers come and go. Times in seconds, from noon of some day."""

from dataclasses import replace
from itertools import pairwise

import pytest
from decision import Destroy, Drain, Grow, Limits, Load, Machine, Memory, decide

NOON = 1_700_049_600.0
LIMITS = Limits(
    most=2, fewest=0, hours_per_day=8, grow_wait_s=30, shrink_after_s=900, cooldown_s=300, boot_limit_s=2700
)
IDLE = Load(waiting=0, wait_s=None, workers=1, slots=8, in_flight=0)
BUSY = Load(waiting=20, wait_s=60, workers=1, slots=8, in_flight=8)
BEFORE = Memory(looked_at=NOON - 60)
WORKING = Machine(1, "one", "working", age_s=7200, silent_s=0)
STARTING = Machine(2, "two", "starting", age_s=300, silent_s=300)


def kinds(steps: object) -> list[str]:
    assert isinstance(steps, list)
    return [type(step).__name__ for step in steps]


def test_a_long_wait_makes_one_machine_and_then_the_cooldown_holds() -> None:
    steps, memory = decide(BUSY, [], LIMITS, BEFORE, NOON)
    assert kinds(steps) == ["Grow"]
    steps, _ = decide(BUSY, [], LIMITS, memory, NOON + 299)
    assert steps == []
    steps, _ = decide(BUSY, [], LIMITS, memory, NOON + 300)
    assert kinds(steps) == ["Grow"]


@pytest.mark.parametrize(
    ("load", "grows"),
    [
        (IDLE, False),
        (replace(BUSY, wait_s=29.9), False),
        (replace(BUSY, wait_s=30), True),
        (replace(BUSY, waiting=0), False),
        (replace(BUSY, wait_s=None, waiting=8), False),  # a round of what is there
        (replace(BUSY, wait_s=None, waiting=9), True),
        (Load(waiting=1, wait_s=None, workers=0, slots=0, in_flight=0), True),
        (None, False),  # a queue that cannot be asked asks for nothing
    ],
)
def test_what_counts_as_need(load: Load | None, grows: bool) -> None:
    assert kinds(decide(load, [], LIMITS, BEFORE, NOON)[0]) == (["Grow"] if grows else [])


def test_never_more_than_most_and_one_start_at_a_time() -> None:
    two = [WORKING, replace(WORKING, id=3)]
    assert decide(BUSY, two, LIMITS, BEFORE, NOON)[0] == []
    assert decide(BUSY, [STARTING], LIMITS, BEFORE, NOON)[0] == []
    assert kinds(decide(BUSY, [WORKING], LIMITS, BEFORE, NOON)[0]) == ["Grow"]


def test_never_fewer_than_fewest() -> None:
    limits = replace(LIMITS, fewest=1)
    assert kinds(decide(IDLE, [], limits, BEFORE, NOON)[0]) == ["Grow"]
    long_calm = replace(BEFORE, calm_since=NOON - 9000)
    assert decide(IDLE, [WORKING], limits, long_calm, NOON)[0] == []


def test_a_machine_goes_after_a_long_calm_and_not_at_its_first_quiet_minute() -> None:
    steps, memory = decide(IDLE, [WORKING], LIMITS, BEFORE, NOON)
    assert steps == []
    assert decide(IDLE, [WORKING], LIMITS, memory, NOON + 899)[0] == []
    steps, memory = decide(IDLE, [WORKING], LIMITS, memory, NOON + 900)
    assert steps == [Drain(WORKING, "one less would do, for 900 s now")]
    assert memory.calm_since is None, "the next one waits as long again"


def test_work_in_between_begins_the_calm_anew() -> None:
    _, memory = decide(IDLE, [WORKING], LIMITS, BEFORE, NOON)
    _, memory = decide(BUSY, [WORKING, STARTING], LIMITS, memory, NOON + 600)
    assert decide(IDLE, [WORKING], LIMITS, memory, NOON + 900)[0] == []


def test_calm_is_when_one_worker_less_would_have_done() -> None:
    two = Load(waiting=0, wait_s=None, workers=2, slots=16, in_flight=9)
    assert decide(two, [WORKING], LIMITS, BEFORE, NOON)[1].calm_since is None
    assert decide(replace(two, in_flight=8), [WORKING], LIMITS, BEFORE, NOON)[1].calm_since == NOON


def test_who_has_the_least_to_do_goes_first() -> None:
    busier = replace(WORKING, in_flight=3)
    idle = replace(WORKING, id=4, in_flight=0, age_s=9000)
    calm = replace(BEFORE, calm_since=NOON - 900)
    (step,) = decide(replace(IDLE, workers=3, slots=24, in_flight=3), [busier, idle], LIMITS, calm, NOON)[0]
    assert step == Drain(idle, "one less would do, for 900 s now")


def test_a_machine_that_does_not_come_up_is_destroyed_and_one_that_lost_its_worker_has_time() -> None:
    late = replace(STARTING, age_s=2701, silent_s=2701)
    assert kinds(decide(BUSY, [late], LIMITS, BEFORE, NOON)[0]) == ["Destroy"]
    restarting = replace(STARTING, age_s=90_000, silent_s=120)
    assert decide(IDLE, [restarting], LIMITS, BEFORE, NOON)[0] == []


def test_what_was_begun_is_gone_on_with_at_once() -> None:
    draining = replace(WORKING, state="draining")
    memory = replace(BEFORE, changed_at=NOON - 10)
    steps, after = decide(None, [draining], LIMITS, memory, NOON)
    assert steps == [Drain(draining, "begun before")]
    assert after.changed_at == NOON - 10


def test_lower_limits_are_kept_to_at_once_who_does_not_work_yet_first() -> None:
    steps, _ = decide(BUSY, [WORKING, STARTING], replace(LIMITS, most=1), BEFORE, NOON)
    assert steps == [Destroy(STARTING, "at most 1 are wanted")]
    assert kinds(decide(BUSY, [WORKING, STARTING], replace(LIMITS, most=0), BEFORE, NOON)[0]) == ["Destroy", "Drain"]


def test_the_days_hours_bound_what_it_costs() -> None:
    limits = replace(LIMITS, hours_per_day=1)
    memory = replace(BEFORE, spent_s=3540)
    steps, memory = decide(BUSY, [WORKING, STARTING], limits, memory, NOON)
    assert kinds(steps) == ["Drain", "Destroy"]
    assert memory.spent_s == 3660
    assert decide(BUSY, [], limits, memory, NOON + 3600)[0] == [], "none is made again that day"
    steps, memory = decide(BUSY, [], limits, memory, NOON + 12 * 3600 + 60)
    assert kinds(steps) == ["Grow"]
    assert memory.spent_s == 0


def test_only_the_new_days_part_of_a_look_over_midnight_counts() -> None:
    midnight = NOON + 12 * 3600
    _, memory = decide(IDLE, [WORKING], LIMITS, Memory(looked_at=midnight - 600, spent_s=5000), midnight + 60)
    assert memory.spent_s == 60


def test_nothing_is_made_for_the_last_half_hour_of_the_days_hours() -> None:
    nearly = replace(BEFORE, spent_s=LIMITS.hours_per_day * 3600 - 1799)
    assert decide(BUSY, [], LIMITS, nearly, NOON)[0] == []
    assert kinds(decide(BUSY, [], LIMITS, replace(nearly, spent_s=nearly.spent_s - 1), NOON)[0]) == ["Grow"]


def test_a_day_of_work_that_comes_and_goes_stays_within_its_bounds() -> None:
    """Every minute of a day, an hour of work and an hour without; a machine works 12 minutes after it was made."""
    made: dict[int, float] = {}
    memory, hours, changes = Memory(looked_at=NOON - 60), 0.0, []
    for minute in range(12 * 60):
        now = NOON + 60 * minute
        machines = [
            Machine(one, f"m{one}", "working" if now - at >= 720 else "starting", now - at, min(now - at, 720))
            for one, at in made.items()
        ]
        workers = 1 + sum(machine.state == "working" for machine in machines)
        is_busy = (minute // 60) % 2 == 0
        load = Load(waiting=30, wait_s=90 / workers, workers=workers, slots=8 * workers, in_flight=8 * workers)
        idle = Load(waiting=0, wait_s=None, workers=workers, slots=8 * workers, in_flight=1)
        steps, memory = decide(load if is_busy else idle, machines, LIMITS, memory, now)
        hours += len(made) / 60
        for step in steps:
            changes.append(now)
            if isinstance(step, Grow):
                made[minute] = now
            else:
                del made[step.machine.id]
        assert len(made) <= LIMITS.most
    assert hours <= LIMITS.hours_per_day + LIMITS.most / 60
    assert 6 <= len(changes) <= 30
    assert all(later - sooner >= LIMITS.cooldown_s for sooner, later in pairwise(changes))
