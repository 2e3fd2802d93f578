"""What happens between two updates: validation, a row of the log, the best checkpoint, a snapshot."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tokenfleet.policies.base import Policy
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.checkpoint import save_checkpoint
from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
from tokenfleet.policies.learned.layout import BEST, LAST, checkpoint_of
from tokenfleet.policies.learned.limited_env import LimitedEnv
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.progress_log import TIME, ProgressLog, restore_unwritten, unwritten
from tokenfleet.policies.learned.resume import Snapshots
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.stopping import StopSignals
from tokenfleet.policies.learned.training_state import can_restore, capture

Validate = Callable[[Policy], Mapping[str, float]]
"""Mean metrics of a policy on the validation episodes; `return` decides which checkpoint is the best."""

RETURN = "return"
_RECENT_EPISODES = 100
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cadence:
    """Environment steps between two of each; None for never."""

    validate: int | None
    log: int
    snapshot: int


class RunKeeper(BaseCallback):
    """Keeps a run: does what is due at each boundary between two updates.

    What is due depends on the number of steps alone, so a resumed run does the same as an uninterrupted one.

    Args:
        folder: of the run.
        algorithm: hyper-parameters.
        origin: where the policy comes from; steps and validation are filled in.
        cadence: how often.
        total: environment steps of the run.
        validate: None for no validation.
        progress_log: the CSV file.
        progress_bar: show a bar if the output is a terminal.
        stop: asks the run to stop.
        limits: that are to be kept; None for none.
    """

    def __init__(
        self,
        folder: Path,
        algorithm: AlgorithmSpec,
        origin: TrainingOrigin,
        cadence: Cadence,
        total: int,
        validate: Validate | None,
        progress_log: ProgressLog,
        progress_bar: bool,
        stop: StopSignals,
        limits: LimitedEnv | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.algorithm = algorithm
        self.origin = origin
        self.cadence = cadence
        self.total = total
        self.validate = validate
        self.progress_log = progress_log
        self.stop = stop
        self.limits = limits
        self.snapshots = Snapshots(folder)
        self.best_return, self.best_excess = -math.inf, math.inf
        self.last_validation: dict[str, float] = {}
        self._boundary = 0
        self._snapshot_number = 0
        self._snapshot_steps = 0
        self._snapshot_due = False
        self._recent: deque[dict[str, float]] = deque(maxlen=_RECENT_EPISODES)
        self._began_s = time.monotonic()
        self._clock = (self._began_s, 0)
        self._bar_wanted = progress_bar and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self._open = contextlib.ExitStack()

    def restore(self, state: Mapping[str, Any], logger: Logger) -> None:
        """Go on from a snapshot, with the model's logger."""
        if state["best_return"] is not None:
            self.best_return, self.best_excess = state["best_return"], state["best_excess"]
        self.last_validation = state["last_validation"]
        self._boundary = self._snapshot_steps = state["boundary"]
        self._snapshot_number = state["snapshot_number"]
        self._recent.extend(state["recent"])
        self._clock = (time.monotonic(), self._boundary)
        self._began_s = time.monotonic() - state["wall_s"]
        self.progress_log.restore(state["progress_csv"])
        restore_unwritten(logger, state["unwritten"])

    @property
    def wall_s(self) -> float:
        """How long the run has trained, over all of its processes up to each one's last snapshot [s]."""
        return time.monotonic() - self._began_s

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()
        self._open.close()

    def _on_training_start(self) -> None:
        self.stop.defer()
        if self._bar_wanted:
            self._open.enter_context(logging_redirect_tqdm())  # or log lines would break the bar
            self._bar = tqdm(total=self.total, initial=self._boundary, unit="step", unit_scale=True, dynamic_ncols=True)

    def _on_step(self) -> bool:
        dones = self.locals["dones"]
        if dones.any():
            infos = self.locals["infos"]
            for index in np.flatnonzero(dones).tolist():
                self._recent.append(_numbers(infos[index].get("episode_metrics", {})))
        return True

    def _on_rollout_start(self) -> None:
        if self.limits is not None:
            self.limits.ascend()
        if self.model.num_timesteps > self._boundary:
            self._at_boundary(final=False)
        if self.stop.asked:
            self._save_before_stopping()
            self.stop.raise_if_asked()

    def _on_training_end(self) -> None:
        if self.model.num_timesteps > self._boundary:
            self._at_boundary(final=True)

    def _at_boundary(self, final: bool) -> None:
        steps, cadence = self.model.num_timesteps, self.cadence
        validation_due = cadence.validate is not None and (final or _passed(self._boundary, steps, cadence.validate))
        log_due = _passed(self._boundary, steps, cadence.log)
        self._snapshot_due |= _passed(self._boundary, steps, cadence.snapshot)
        snapshot_due = final or (self._snapshot_due and self._may_snapshot())
        self._boundary = steps
        if validation_due:
            self._validate(steps)
        if validation_due or log_due or snapshot_due:
            self._log_row(steps)
        if snapshot_due:
            self._save(steps)
        if self._bar is not None:
            self._bar.update(steps - self._bar.n)

    def _validate(self, steps: int) -> None:
        assert self.validate is not None
        metrics, excess = self._validated(self.validate)
        for name, value in metrics.items():
            self.logger.record(f"validation/{name}", value)
        self.last_validation = {name: value for name, value in metrics.items() if math.isfinite(value)}
        value = metrics[RETURN]
        # Keeping the limits comes first: the smaller excess wins, then the higher value.
        better = math.isfinite(value) and (-excess, value) > (-self.best_excess, self.best_return)
        if better:
            self.best_return, self.best_excess = value, excess
            self._save_checkpoint(BEST, steps)
        beyond = ", beyond the limits" if excess else ""
        best = ", the best so far" if better else ""
        log.info("%s steps: validation return %.4g%s%s", f"{steps:,}", value, beyond, best)

    def _validated(self, validate: Validate) -> tuple[dict[str, float], float]:
        """Mean metrics, and the excess over the limits, summed; both over all settings of `LimitedEnv.settings`."""
        policy = NetworkPolicy.of_model(self.model)
        if self.limits is None:
            return dict(validate(policy)), 0.0
        settings = self.limits.settings()
        found = [dict(validate(policy.within(setting))) for setting in settings]
        for setting, metrics in zip(settings, found, strict=True):
            where = "/".join(f"{name}/{value:g}" for name, value in setting.items())
            for name in (RETURN, *(one.name for one in self.limits.limits)) if setting else ():
                self.logger.record(f"validation/{where}/{name}", metrics[name])
        excess = sum(self.limits.excess(metrics, setting) for metrics, setting in zip(found, settings, strict=True))
        common = [name for name in found[0] if all(name in metrics for metrics in found)]
        return {name: sum(metrics[name] for metrics in found) / len(found) for name in common}, excess

    def _log_row(self, steps: int) -> None:
        episodes = self.model.ep_info_buffer or ()
        if episodes:
            self.logger.record("episode/return", float(np.mean([episode["r"] for episode in episodes])))
            self.logger.record("episode/length_steps", float(np.mean([episode["l"] for episode in episodes])))
        for name in sorted({name for metrics in self._recent for name in metrics} - {RETURN, "length_steps"}):
            values = [metrics[name] for metrics in self._recent if name in metrics]
            self.logger.record(f"episode/{name}", float(np.mean(values)))
        for name, number in {} if self.limits is None else self.limits.report().items():
            self.logger.record(f"limits/{name}", number)
        since_s, before = self._clock
        now_s = time.monotonic()
        self.logger.record(f"{TIME}steps_per_s", (steps - before) / max(now_s - since_s, 1e-9))
        self._clock = (now_s, steps)
        self.logger.dump(steps)

    def _save(self, steps: int) -> None:
        """Write the last checkpoint, then the snapshot, so that a snapshot on disk always has its checkpoint."""
        self._save_checkpoint(LAST, steps)
        self._snapshot_number += 1
        self._snapshot_due = False
        self._write_snapshot(steps)

    def _save_before_stopping(self) -> None:
        """Write a snapshot between two that are due, if it leaves no trace in the run.

        If the environments cannot be restored, a snapshot would start them anew. Such a run goes back to its last one.
        """
        steps = self._boundary
        if can_restore(self.training_env) and steps > self._snapshot_steps:
            self._save_checkpoint(LAST, steps)
            self._write_snapshot(steps)

    def _write_snapshot(self, steps: int) -> None:
        state = capture(self.model, self.origin.training_seed, self._snapshot_number)
        self.snapshots.write(steps, {"model": state, "run": self._own_state()})
        self._snapshot_steps = steps

    def _own_state(self) -> dict[str, Any]:
        return {
            "best_return": self.best_return if math.isfinite(self.best_return) else None,
            "best_excess": self.best_excess if math.isfinite(self.best_excess) else None,
            "last_validation": self.last_validation,
            "boundary": self._boundary,
            "snapshot_number": self._snapshot_number,
            "recent": list(self._recent),
            "wall_s": self.wall_s,
            "progress_csv": self.progress_log.content(),
            "unwritten": unwritten(self.logger),
        }

    def _save_checkpoint(self, name: str, steps: int) -> None:
        now = {
            "timesteps": steps,
            "validation_return": self.last_validation.get(RETURN),
            "multipliers": {} if self.limits is None else self.limits.multipliers_by_name(),
        }
        origin = self.origin.model_copy(update=now)
        save_checkpoint(checkpoint_of(self.folder, name), self.model, self.algorithm, origin)

    def _may_snapshot(self) -> bool:
        """Whether a snapshot may be written: one that restarts environments waits until each has ended an episode."""
        env = self.training_env
        return can_restore(env) or bool(cast(Sb3VecEnv, env.unwrapped).episodes_ended.all())


def _passed(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of an episode's report."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and math.isfinite(value) and not name.startswith("_")
    }
