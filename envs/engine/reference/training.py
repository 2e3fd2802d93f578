"""The training jobs of a site in time; see `scenario.training` for what they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.power_states import ROUNDED_REPLICAS
from tokenfleet.envs.rows import Record


class Mode(Enum):
    """What a job is doing."""

    WORKING = "makes progress"
    SAVING = "writes a checkpoint"
    PAUSED = "stands still, saved"
    RESUMING = "reads its checkpoint back"


@dataclass
class Job:
    """One job.

    Attributes:
        mode: what it is doing.
        left_s: for how long still, while it saves or resumes.
        unsaved_s: work since its last checkpoint.
        stops: whether it pauses once it has saved.
    """

    mode: Mode = Mode.WORKING
    left_s: float = 0.0
    unsaved_s: float = 0.0
    stops: bool = False


class Training:
    """The jobs of site `s`; none where it does not train."""

    def __init__(self, arrays: FleetArrays, s: int) -> None:
        """Begin with every job at work, just saved."""
        self.tick_s = arrays.tick_s
        self.column = int(arrays.training[s])
        self.busy_w, self.idle_w = float(arrays.training_busy_w[s]), float(arrays.training_idle_w[s])
        self.usd_per_s = float(arrays.training_usd_per_s[s])
        self.interval_s = float(arrays.checkpoint_interval_s[s])
        self.checkpoint_s, self.resume_s = float(arrays.checkpoint_s[s]), float(arrays.training_resume_s[s])
        self.jobs = [Job() for _ in range(int(arrays.training_jobs[s]))] if self.column >= 0 else []

    def run(self, share: float, is_dark: bool, speed: float, outcome: Record) -> float:
        """A tick; what the boards and servers drew [J].

        Args:
            share: of the jobs that should work; the first ones do.
            is_dark: the site is without power.
            speed: clock in force over the highest.
            outcome: where it is written.
        """
        if self.column < 0:
            return 0.0
        if is_dark:
            outcome["training_lost_s"][0, self.column] = lost_s = self._lose_power()
            outcome["training_usd"][0, self.column] = -lost_s * self.usd_per_s
            return 0.0
        wanted = math.ceil(share * len(self.jobs) - ROUNDED_REPLICAS)
        work_s = paused_s = 0.0
        for index, job in enumerate(self.jobs):
            self._ask(job, index < wanted)
            worked_s, stood_s = self._pass_tick(job, speed)
            work_s += worked_s
            paused_s += stood_s
        active_s = len(self.jobs) * self.tick_s - paused_s
        energy_j = self.idle_w * paused_s + (self.idle_w + (self.busy_w - self.idle_w) * speed) * active_s
        outcome["training_work_s"][0, self.column] = work_s
        outcome["training_usd"][0, self.column] = work_s * self.usd_per_s
        outcome["training_energy_j"][0, self.column] = energy_j
        return energy_j

    def write_view(self, view: Record) -> None:
        """What the policy sees of the jobs."""
        if self.column >= 0:
            view["working_jobs"][0, self.column] = sum(job.mode is Mode.WORKING for job in self.jobs)
            view["unsaved_work_s"][0, self.column] = sum(job.unsaved_s for job in self.jobs)

    def _lose_power(self) -> float:
        lost_s = 0.0
        for job in self.jobs:
            lost_s += job.unsaved_s
            job.mode, job.left_s, job.unsaved_s, job.stops = Mode.PAUSED, 0.0, 0.0, False
        return lost_s

    def _ask(self, job: Job, works: bool) -> None:
        """Tell a job whether it should work."""
        if works and job.mode is Mode.PAUSED:
            job.mode, job.left_s = Mode.RESUMING, self.resume_s
        if not works and job.mode is Mode.RESUMING:
            job.mode = Mode.PAUSED
        if not works and job.mode is Mode.WORKING:
            job.mode, job.left_s = Mode.SAVING, self.checkpoint_s
        job.stops = not works

    def _pass_tick(self, job: Job, speed: float) -> tuple[float, float]:
        """Let a job live through a tick; how long it worked, in time at full clock, and how long it stood still [s]."""
        left_s, work_s = self.tick_s, 0.0
        while left_s > 0.0 and job.mode is not Mode.PAUSED:
            if job.mode is Mode.WORKING:
                to_save_s = self.interval_s - job.unsaved_s
                if left_s * speed < to_save_s:
                    job.unsaved_s += left_s * speed
                    return work_s + left_s * speed, 0.0
                cycle_s = self.interval_s / speed + self.checkpoint_s
                if job.unsaved_s == 0.0 and left_s >= cycle_s:
                    cycles = math.floor(left_s / cycle_s)
                    work_s += cycles * self.interval_s
                    left_s -= cycles * cycle_s
                    continue
                work_s += to_save_s
                left_s -= to_save_s / speed
                job.mode, job.left_s, job.unsaved_s = Mode.SAVING, self.checkpoint_s, self.interval_s
            elif left_s < job.left_s:
                job.left_s -= left_s
                return work_s, 0.0
            else:
                left_s -= job.left_s
                was_saving = job.mode is Mode.SAVING
                job.unsaved_s = 0.0
                job.mode = Mode.PAUSED if was_saving and job.stops else Mode.WORKING
        return work_s, max(left_s, 0.0)
