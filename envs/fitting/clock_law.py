"""A board's clock law from sweeps: jobs at several clocks, or under several power limits, in seconds and watts.

A job is the same piece of work at every clock, in `time_s (m + (1 - m) / F)` and, beside the board's awake draw,
`core_w V^2` watts for `time_s`. Where the sum passes the board's limit, the board runs at a slower clock than the one
asked for (`tokenfleet.envs.layers.gpu.clock`). The awake watts, the voltage's floor, the held limit and the share of
time that no clock changes are the board's; time and watts are the job's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import Load, PowerCoefficients, clock_stretch, clock_under_limit, voltage_fraction

FEWEST_POINTS = 4
SOFT = 0.02
STEP = 1e-3
FLOORS = (0.55, 0.65, 0.75, 0.85)  # starts: the voltage's kink has a local minimum between each two clocks


@dataclass(frozen=True)
class Sweep:
    """One job at N clocks or limits.

    Attributes:
        job: its name.
        clock_fraction: asked for, as a share of the board's highest, `[N]`.
        limit_w: power limit that was set, `[N]` [W]; the board's rated one where none was.
        time_s: `[N]` [s].
        power_w: mean of one board, `[N]` [W].
    """

    job: str
    clock_fraction: Array
    limit_w: Array
    time_s: Array
    power_w: Array

    def at(self, points: slice | Sequence[int]) -> Sweep:
        """Some of its points."""
        names = ("clock_fraction", "limit_w", "time_s", "power_w")
        return replace(self, **{name: getattr(self, name)[points] for name in names})


@dataclass(frozen=True)
class JobLaw:
    """What is a job's own: seconds at full clock without a limit, and watts of the core there."""

    time_s: float
    core_w: float


@dataclass(frozen=True)
class BoardLaw:
    """What is a board's own.

    Attributes:
        static_w: drawn awake at any clock [W].
        voltage_floor_fraction: clock fraction below which the voltage stays.
        held_fraction: watts that are held of a power limit.
        memory_fraction: m of these jobs.
    """

    static_w: float
    voltage_floor_fraction: float
    held_fraction: float
    memory_fraction: float

    def predicted(
        self, job_s: float | Array, core_w: float | Array, clock_fraction: Array, limit_w: Array
    ) -> tuple[Array, Array]:
        """Seconds and watts of jobs at clocks and limits, `[N]` each.

        Args:
            job_s: of each point's job at full clock without a limit, a number or `[N]` [s].
            core_w: watts of the core there, likewise.
            clock_fraction: asked for, `[N]`.
            limit_w: power limit that was set, `[N]` [W].
        """
        held_w = self.held_fraction * limit_w
        board = PowerCoefficients(
            static_w=self.static_w,
            floor_w=0.0,
            core_byte_fraction=0.0,
            core_context_fraction=0.0,
            knee_fraction=1.0,
            shoulder_slope=1.0,
            limit_w=held_w,
            voltage_floor_fraction=self.voltage_floor_fraction,
        )
        every = np.ones_like(clock_fraction)
        load = Load(
            every * (job_s * self.memory_fraction),
            every * (job_s * (1.0 - self.memory_fraction)),
            0.0 * every,
            every * (core_w * job_s),
        )
        time_s, power_w = self._at(load, clock_fraction)
        clock = np.where(power_w > held_w, clock_under_limit(board, load, clock_fraction), clock_fraction)
        time_s, power_w = self._at(load, clock)
        return time_s, np.minimum(power_w, held_w)

    def _at(self, load: Load[Array], clock: Array) -> tuple[Array, Array]:
        voltage = voltage_fraction(clock, self.voltage_floor_fraction)
        time_s = load.time_s(clock)
        return time_s, self.static_w + voltage * voltage * load.core_j / time_s


@dataclass(frozen=True)
class ClockLaw:
    """A board and its jobs.

    Attributes:
        board: what is its own.
        jobs: name of a job -> its law.
    """

    board: BoardLaw
    jobs: dict[str, JobLaw]

    def predicted(self, sweep: Sweep) -> tuple[Array, Array]:
        """Seconds and watts of a job at the clocks and limits of a sweep, `[N]` each."""
        job = self.jobs[sweep.job]
        return self.board.predicted(job.time_s, job.core_w, sweep.clock_fraction, sweep.limit_w)

    def of_job(self, sweep: Sweep) -> ClockLaw:
        """The same board with the numbers of another job, from a few points at which no limit binds."""
        stretch = clock_stretch(sweep.clock_fraction, self.board.memory_fraction)
        time_s = float(np.mean(sweep.time_s / stretch))
        voltage = voltage_fraction(sweep.clock_fraction, self.board.voltage_floor_fraction)
        core_w = float(np.mean((sweep.power_w - self.board.static_w) * stretch / voltage**2))
        return replace(self, jobs={sweep.job: JobLaw(time_s, core_w)})

    def errors(self, sweeps: Sequence[Sweep]) -> tuple[Array, Array]:
        """Signed relative errors of times and of watts over all points of some sweeps."""
        pairs = [self.predicted(sweep) for sweep in sweeps]
        times = [relative_errors(found[0], sweep.time_s) for found, sweep in zip(pairs, sweeps, strict=True)]
        watts = [relative_errors(found[1], sweep.power_w) for found, sweep in zip(pairs, sweeps, strict=True)]
        return np.concatenate(times), np.concatenate(watts)


def fit_clock_law(sweeps: Sequence[Sweep]) -> ClockLaw:
    """The law of a board from sweeps of one job or of several, by least squares of relative error.

    >>> clock = np.linspace(0.4, 1.0, 13)
    >>> true = ClockLaw(BoardLaw(100.0, 0.7, 0.9, 0.2), {"job": JobLaw(2.0, 300.0)})
    >>> blank = Sweep("job", clock, np.full(13, 300.0), clock, clock)
    >>> time_s, power_w = true.predicted(blank)
    >>> found = fit_clock_law([replace(blank, time_s=time_s, power_w=power_w)]).board
    >>> round(found.held_fraction, 2), round(found.memory_fraction, 2), round(found.voltage_floor_fraction, 2)
    (0.9, 0.2, 0.7)
    """
    fastest_s = np.array([float(sweep.time_s.min()) for sweep in sweeps])
    highest_w = np.array([float(sweep.power_w.max()) for sweep in sweeps])
    lowest_w = min(float(sweep.power_w.min()) for sweep in sweeps)
    job_of = np.repeat(np.arange(len(sweeps)), [len(sweep.time_s) for sweep in sweeps])
    names = ("clock_fraction", "limit_w", "time_s", "power_w")
    clock, limit_w, time_s, power_w = (np.concatenate([getattr(sweep, name) for sweep in sweeps]) for name in names)

    def parts(x: Array) -> tuple[BoardLaw, Array, Array]:
        static, floor, held, memory = x[:4].tolist()
        return BoardLaw(static * lowest_w, floor, held, memory), x[4::2] * fastest_s, x[5::2] * highest_w

    def error(x: Array) -> Array:
        board, job_s, core_w = parts(x)
        found_s, found_w = board.predicted(job_s[job_of], core_w[job_of], clock, limit_w)
        return np.concatenate([relative_errors(found_s, time_s), relative_errors(found_w, power_w)])

    held = max(float((sweep.power_w / sweep.limit_w).max()) for sweep in sweeps)
    lower = [0.0, 0.3, 0.3, 0.0, *[0.3, 0.05] * len(sweeps)]
    upper = [1.0, 1.0, 1.0, 0.95, *[1.1, 5.0] * len(sweeps)]
    starts = [[0.4, floor, min(held, 0.999), 0.2, *[0.9, 0.9] * len(sweeps)] for floor in FLOORS]
    board, job_s, core_w = parts(minimise(error, starts, bounds=(lower, upper), soft=SOFT, step=STEP).values)
    jobs = {s.job: JobLaw(*own) for s, *own in zip(sweeps, job_s.tolist(), core_w.tolist(), strict=True)}
    return ClockLaw(board, jobs)


def best_clock(sweep: Sweep) -> float:
    """Clock fraction at which a job took the least energy."""
    return float(sweep.clock_fraction[(sweep.time_s * sweep.power_w).argmin()])
