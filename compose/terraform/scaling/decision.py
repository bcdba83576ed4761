"""What the queue looks like becomes what is done about it. Nothing here asks anybody.

    Load, machines --decide--> steps: Grow, Drain(machine), Destroy(machine)

More follows need at once, but for `cooldown_s` between two changes and one start at a time; less waits until one worker
fewer would have done for `shrink_after_s`. The day's hours bound what all of it can cost: once they are spent every
machine goes, and none is made until the day (UTC) is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

# With less than this left of the day's hours a machine would end before it has begun.
WORTH_STARTING_S = 1800.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`hours_per_day`: of all machines together, from their making to their end."""

    most: int
    fewest: int
    hours_per_day: float
    grow_wait_s: float
    shrink_after_s: float
    cooldown_s: float
    boot_limit_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """`wait_s`: a new job's expected wait; None while nobody knows how long a job takes. `slots`: jobs at once, of all
    ready workers; `in_flight`: of them taken."""

    waiting: int
    wait_s: float | None
    workers: int
    slots: int
    in_flight: int

    @property
    def slots_each(self) -> float:
        return self.slots / self.workers if self.workers else 0


@dataclass(frozen=True, slots=True)
class Machine:
    """One that this program made. `working`: a worker on it is live. `silent_s`: since one was, or since its making."""

    id: int
    name: str
    state: Literal["starting", "working", "draining"]
    age_s: float
    silent_s: float
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What one look tells the next, in seconds since 1970. `spent_s`: of the day's hours."""

    looked_at: float = 0
    spent_s: float = 0
    changed_at: float = 0
    calm_since: float | None = None


@dataclass(frozen=True, slots=True)
class Grow:
    why: str


@dataclass(frozen=True, slots=True)
class Drain:
    """What it has under way is finished or handed back, then it goes."""

    machine: Machine
    why: str


@dataclass(frozen=True, slots=True)
class Destroy:
    machine: Machine
    why: str


Step = Grow | Drain | Destroy


def decide(
    load: Load | None, machines: Sequence[Machine], limits: Limits, memory: Memory, now: float
) -> tuple[list[Step], Memory]:
    """`load` is None where the queue cannot be asked: then nothing is made, and only what must go goes."""
    memory = _counted(memory, len(machines), now)
    calm_since = (memory.calm_since or now) if load and _is_calm(load) else None
    memory = replace(memory, calm_since=calm_since)
    steps = _must(machines, limits, memory)
    if not steps and now - memory.changed_at >= limits.cooldown_s:
        steps = _may(load, machines, limits, memory, now)
    if any(not isinstance(step, Drain) or step.machine.state != "draining" for step in steps):
        memory = replace(memory, changed_at=now, calm_since=None)
    return steps, memory


def _counted(memory: Memory, machines: int, now: float) -> Memory:
    """A day's count begins at midnight; of the time between two looks only the part since then is this day's."""
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    spent_s = memory.spent_s if memory.looked_at >= midnight else 0.0
    since_s = now - max(memory.looked_at, midnight) if memory.looked_at else 0.0
    return replace(memory, looked_at=now, spent_s=spent_s + machines * max(since_s, 0))


def _must(machines: Sequence[Machine], limits: Limits, memory: Memory) -> list[Step]:
    """What goes whatever the load is."""
    if _left_s(limits, memory) <= 0:
        return [_gone(machine, f"the day's {limits.hours_per_day:g} hours are spent") for machine in machines]
    steps: list[Step] = [_gone(machine, "begun before") for machine in machines if machine.state == "draining"]
    staying = [machine for machine in machines if machine.state != "draining"]
    steps += [
        Destroy(machine, f"no worker on it for {machine.silent_s / 60:.0f} minutes")
        for machine in staying
        if machine.state == "starting" and machine.silent_s > limits.boot_limit_s
    ]
    spare = sorted(staying, key=_dispensable)[: max(0, len(staying) - limits.most)]
    gone = {step.machine.id for step in steps if not isinstance(step, Grow)}
    return steps + [_gone(one, f"at most {limits.most} are wanted") for one in spare if one.id not in gone]


def _may(load: Load | None, machines: Sequence[Machine], limits: Limits, memory: Memory, now: float) -> list[Step]:
    if _may_grow(machines, limits, memory):
        if len(machines) < limits.fewest:
            return [Grow(f"at least {limits.fewest} are wanted")]
        if load and (why := _need(load, limits)):
            return [Grow(why)]
    working = [machine for machine in machines if machine.state == "working"]
    is_calm = memory.calm_since is not None and now - memory.calm_since >= limits.shrink_after_s
    if is_calm and working and len(machines) > limits.fewest:
        return [_gone(min(working, key=_dispensable), f"one less would do, for {limits.shrink_after_s:.0f} s now")]
    return []


def _may_grow(machines: Sequence[Machine], limits: Limits, memory: Memory) -> bool:
    is_starting = any(machine.state == "starting" for machine in machines)
    return len(machines) < limits.most and not is_starting and _left_s(limits, memory) >= WORTH_STARTING_S


def _need(load: Load, limits: Limits) -> str:
    """Why one more is needed; empty: it is not."""
    if not load.waiting:
        return ""
    if not load.workers:
        return f"{load.waiting} jobs wait and no worker is there"
    if load.wait_s is None:
        return f"{load.waiting} jobs wait, nobody knows how long" if load.waiting > load.slots else ""
    if load.wait_s >= limits.grow_wait_s:
        return f"{load.waiting} jobs wait, a new one about {load.wait_s:.0f} s"
    return ""


def _is_calm(load: Load) -> bool:
    """Whether one worker less would have done: nothing waits, and a worker's worth of slots is free."""
    return not load.waiting and load.slots - load.in_flight >= load.slots_each


def _left_s(limits: Limits, memory: Memory) -> float:
    return limits.hours_per_day * 3600 - memory.spent_s


def _dispensable(machine: Machine) -> tuple[bool, int, float]:
    """First who does not work yet, then who has the least under way, then the youngest."""
    return machine.state == "working", machine.in_flight, machine.age_s


def _gone(machine: Machine, why: str) -> Step:
    return Destroy(machine, why) if machine.state == "starting" else Drain(machine, why)
