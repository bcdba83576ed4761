"""The whole as a discrete-event simulation: questions arrive, are searched for, wait, are answered in batches, end.

    question --bridge, one at a time--> admitted or refused --queue, first come--> slot of a worker --words--> end

What it needs to be told is few constants of one worker (`Constants`), which `benchmarks.simulation` measures. A
worker's words slow down while it has more answers under way: each then takes `slowed(n)` as long. The jobs of one that
dies are back in the queue after a lease, each with what is left of it; one that is started late takes them from `up_s`.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, factorial, inf


@dataclass(frozen=True)
class Constants:
    """In seconds. `ask_s`: of the bridge, until it makes a job; `busy_s`: of that its processor, where questions wait
    for each other; `send_s`: until the job is in the queue; `begin_s`: from there to the engine of a worker that
    listens; `word_s`: a word's, alone; `crowd`: what each other answer adds to it, as a share; `tell_s`: from a word to
    its reader; `rest_s`: of a slot, from an answer's last word until it is free; `away_s`: there and back between
    worker and queue.

    A worker asks for as many jobs as it has free slots and listens for `listen_s` at most. Once in `look_every_s` it
    looks first, in one call, whether others have died; while it looks, and while its call is on its way, it hears
    nothing. What its answers say goes in one call after another.
    """

    ask_s: float = 0.0
    busy_s: float = 0.0
    send_s: float = 0.0
    begin_s: float = 0.0
    word_s: float = 0.025
    crowd: float = 0.0
    tell_s: float = 0.0
    rest_s: float = 0.0
    away_s: float = 0.0
    listen_s: float = 1.0
    look_every_s: float = 1.0
    lease_s: float = 15.0

    def slowed(self, beside: int) -> float:
        return 1 + self.crowd * max(0, beside - 1)


@dataclass(frozen=True)
class Life:
    """Of a worker: `up_s` is when it takes its first job, `dies_s` when it is gone without a word."""

    slots: int
    up_s: float = 0.0
    dies_s: float = inf


@dataclass
class Asked:
    """`wait_s`: from the job's making to the engine; `first_s`: from the question to the first word; `end_s`: its end,
    by the clock."""

    at_s: float
    words: float
    wait_s: float = 0.0
    first_s: float = inf
    end_s: float = inf
    refused: bool = False
    takeovers: int = 0


@dataclass(frozen=True)
class Predicted:
    asked: Sequence[Asked]
    busy_s: float  # of all slots, while they had an answer

    def said(self, since_s: float, until_s: float) -> float:
        """Words a second, as if each answer's came evenly."""
        words = 0.0
        for one in self.asked:
            begin, end = one.at_s + one.first_s, one.end_s
            if end < inf and end > begin:
                words += one.words * max(0.0, min(end, until_s) - max(begin, since_s)) / (end - begin)
        return words / (until_s - since_s)


@dataclass(eq=False)
class _Worker:
    life: Life
    under_way: dict[int, "_Job"] = field(default_factory=dict[int, "_Job"])
    taken: int = 0  # slots that are not free: under way, coming and resting
    wants: int = 0  # jobs, of the call that waits at the queue; 0: none does
    calls: bool = False  # a call is on its way, or waits
    call: int = 0
    since_s: float = 0.0  # when it began to wait
    looked_s: float = -inf
    busy_s: float = 0.0  # since when it has had an answer
    said_s: float = 0.0  # until when its words are counted
    turn: int = 0
    alive: bool = False


@dataclass
class _Job:
    asked: Asked
    left: float
    made_s: float


def simulate(
    arrivals: Sequence[tuple[float, float]], workers: Sequence[Life], told: Constants, depth: int = 0
) -> Predicted:
    """`arrivals`: (when, words). `depth`: jobs waiting and under way from which none is admitted, 0: any number."""
    return _World(arrivals, workers, told, depth).run()


class _World:
    def __init__(
        self, arrivals: Sequence[tuple[float, float]], lives: Sequence[Life], told: Constants, depth: int
    ) -> None:
        self.told, self.depth = told, depth
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.now = self.bridge_free = self.busy_s = 0.0
        self.queue: deque[_Job] = deque()
        self.open = len(arrivals)
        self.in_queue = 0  # entries of the stream: those under way are among them
        self.asked = [Asked(at, words) for at, words in arrivals]
        self.workers = [_Worker(life) for life in lives]
        for one in self.asked:
            self.at(one.at_s, lambda one=one: self.arrive(one))
        for worker in self.workers:
            self.at(worker.life.up_s, lambda worker=worker: self.up(worker))
            if worker.life.dies_s < inf:
                self.at(worker.life.dies_s, lambda worker=worker: self.die(worker))

    def run(self) -> Predicted:
        while self.events and self.open:
            self.now, _, happens = heapq.heappop(self.events)
            happens()
        return Predicted(self.asked, self.busy_s)

    def at(self, when: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), happens))

    def arrive(self, one: Asked) -> None:
        begins = max(self.now, self.bridge_free)
        self.bridge_free = begins + self.told.busy_s
        self.at(begins + self.told.ask_s, lambda: self.admit(one))

    def admit(self, one: Asked) -> None:
        if self.depth and self.in_queue >= self.depth:
            one.refused = True
            self.open -= 1
            return
        self.in_queue += 1
        job = _Job(one, one.words, self.now)
        self.at(self.now + self.told.send_s, lambda: self.put(job))

    def put(self, job: _Job) -> None:
        self.queue.append(job)
        self.deal()

    def up(self, worker: _Worker) -> None:
        worker.alive = True
        self.ask_for_jobs(worker)

    def ask_for_jobs(self, worker: _Worker) -> None:
        if worker.calls or not worker.alive or worker.taken >= worker.life.slots:
            return
        worker.calls = True
        looks_s = 0.0
        if self.now - worker.looked_s > self.told.look_every_s:
            worker.looked_s = self.now
            looks_s = self.told.away_s
        self.at(self.now + looks_s, lambda: self.call(worker, worker.life.slots - worker.taken))

    def call(self, worker: _Worker, wants: int) -> None:
        self.at(self.now + self.told.away_s / 2, lambda: self.listen(worker, wants))

    def listen(self, worker: _Worker, wants: int) -> None:
        worker.wants, worker.since_s, worker.call = wants, self.now, worker.call + 1
        self.at(self.now + self.told.listen_s, lambda call=worker.call: self.returns(worker, call))
        self.deal()

    def returns(self, worker: _Worker, call: int) -> None:
        """Its call is answered, with jobs or without; a late one is none."""
        if call != worker.call or not worker.wants:
            return
        worker.wants = 0
        self.at(self.now + self.told.away_s / 2, lambda: self.called(worker))

    def called(self, worker: _Worker) -> None:
        worker.calls = False
        self.ask_for_jobs(worker)

    def deal(self) -> None:
        # Who has waited longest is served first, as Redis does with clients that block.
        while self.queue and (waiting := [w for w in self.workers if w.wants and w.alive]):
            worker = min(waiting, key=lambda w: w.since_s)
            for _ in range(min(worker.wants, len(self.queue))):
                job = self.queue.popleft()
                worker.taken += 1
                self.at(self.now + self.told.begin_s, lambda worker=worker, job=job: self.begin(worker, job))
            self.returns(worker, worker.call)

    def begin(self, worker: _Worker, job: _Job) -> None:
        if not worker.alive:
            self.at(self.now + self.told.lease_s, lambda: self.back(job))
            return
        if job.asked.first_s == inf:
            job.asked.wait_s = self.now - job.made_s
        self.say(worker)
        worker.under_way[next(self.order)] = job
        self.again(worker)
        if job.asked.first_s == inf:
            said_s = self.now + self.told.word_s * self.told.slowed(len(worker.under_way))
            job.asked.first_s = self.leaves(worker, said_s) + self.told.tell_s - job.asked.at_s

    def leaves(self, worker: _Worker, said_s: float) -> float:
        """When a first word does: beside others it waits for the call that carries theirs, one after another."""
        if len(worker.under_way) == 1:
            worker.busy_s = self.now
        elif self.told.away_s:
            said_s += -(said_s - worker.busy_s) % self.told.away_s
        return said_s

    def say(self, worker: _Worker) -> None:
        """What was said since the worker was last looked at."""
        passed, worker.said_s = self.now - worker.said_s, self.now
        words = passed / (self.told.word_s * self.told.slowed(len(worker.under_way)))
        for job in worker.under_way.values():
            job.left -= words
        self.busy_s += passed * len(worker.under_way)

    def again(self, worker: _Worker) -> None:
        """The next answer to end is another now."""
        worker.turn += 1
        if worker.under_way:
            left = max(0.0, min(job.left for job in worker.under_way.values()))
            when = self.now + left * self.told.word_s * self.told.slowed(len(worker.under_way))
            self.at(when, lambda turn=worker.turn: self.end(worker, turn))

    def end(self, worker: _Worker, turn: int) -> None:
        if turn != worker.turn:
            return
        self.say(worker)
        for name in [name for name, job in worker.under_way.items() if job.left < 1e-6]:
            job = worker.under_way.pop(name)
            job.asked.end_s = self.now + self.told.tell_s
            self.open -= 1
            self.at(self.now + self.told.rest_s, lambda: self.free(worker))
        self.again(worker)

    def free(self, worker: _Worker) -> None:
        self.in_queue -= 1
        worker.taken -= 1
        self.ask_for_jobs(worker)

    def die(self, worker: _Worker) -> None:
        self.say(worker)
        worker.alive = False
        worker.turn += 1
        for job in worker.under_way.values():
            job.asked.takeovers += 1
            self.at(self.now + self.told.lease_s, lambda job=job: self.back(job))
        worker.under_way.clear()

    def back(self, job: _Job) -> None:
        self.queue.appendleft(job)
        self.deal()


def share(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, ceil(part * len(ordered)) - 1))] if ordered else 0.0


def erlang_c(servers: int, offered: float) -> float:
    """The share that has to wait, of an M/M/c queue with `offered` = arrivals a second times mean service."""
    if offered >= servers:
        return 1.0
    top = offered**servers / factorial(servers) * servers / (servers - offered)
    return top / (sum(offered**k / factorial(k) for k in range(servers)) + top)
