"""The writers behind `tracking=`: each takes the rows of stable-baselines3's logger, as `progress.csv` does.

A resumed run writes to the same run of its tracker; the id of that run stands in the run's folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, TensorBoardOutputFormat

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.tracking import (
    MlflowTracking,
    NoTracking,
    TensorBoardTracking,
    TrackingSpec,
    WandbTracking,
)

ID_FILE = "tracking_run_id"
_EXIT_INTERRUPTED = 130
LIBRARIES: dict[type[TrackingSpec], str] = {WandbTracking: "wandb", MlflowTracking: "mlflow"}
"""The library of each tracker that needs one; the extra of the same name installs it."""


def check_installed(tracking: TrackingSpec) -> None:
    """Import a tracker's library before anything is written.

    Raises:
        SpecError: it is not installed.
    """
    library = LIBRARIES.get(type(tracking))
    if library is not None:
        _import(library)


def make_writers(tracking: TrackingSpec, folder: Path, config: Mapping[str, Any]) -> list[KVWriter]:
    """What a run's logger writes to beside `progress.csv`.

    Args:
        tracking: the choice.
        folder: of the run.
        config: of the run, as plain data, for trackers that keep it.

    Raises:
        SpecError: the tracker's library is not installed.
    """
    return _WRITERS[type(tracking)](tracking, folder, config)


class TrackedRun(KVWriter):
    """A run in a tracker that keeps a status of the run; it ends as complete unless `error` is set.

    Attributes:
        error: what ended the run before it was complete; None for nothing.
    """

    error: BaseException | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether the user ended the run."""
        return isinstance(self.error, KeyboardInterrupt)


class WandbWriter(TrackedRun):
    """Writes to a run of Weights & Biases."""

    def __init__(self, tracking: WandbTracking, folder: Path, config: Mapping[str, Any]) -> None:
        wandb = _import("wandb")
        known = _known_id(folder)
        self._run = wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group,
            mode=tracking.mode,
            name=_run_name(folder),
            dir=str(folder),
            config=dict(config),
            id=known,
            resume=None if known is None else "allow",
        )
        _remember_id(folder, self._run.id)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row of everything that is a number."""
        self._run.log(_numbers(key_values), step=step)

    def close(self) -> None:
        """Finish the run; Weights & Biases shows a run with an exit code other than 0 as failed."""
        self._run.finish(exit_code=0 if self.error is None else _EXIT_INTERRUPTED if self.is_interrupted else 1)


class MlflowWriter(TrackedRun):
    """Writes to a run of MLflow."""

    def __init__(self, tracking: MlflowTracking, folder: Path, config: Mapping[str, Any]) -> None:
        mlflow = _import("mlflow")
        self._client = mlflow.MlflowClient(tracking_uri=tracking.uri)
        known = _known_id(folder)
        if known is None:
            experiment = self._client.get_experiment_by_name(tracking.experiment)
            experiment_id = (
                experiment.experiment_id if experiment else self._client.create_experiment(tracking.experiment)
            )
            known = self._client.create_run(experiment_id, run_name=_run_name(folder)).info.run_id
            self._client.log_dict(known, dict(config), "config.yaml")
            _remember_id(folder, known)
        else:
            self._client.update_run(known, status="RUNNING")
        self._run_id = known

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row of everything that is a number."""
        for name, value in _numbers(key_values).items():
            self._client.log_metric(self._run_id, name, value, step=step)

    def close(self) -> None:
        """Finish the run with the status that MLflow shows."""
        status = "FINISHED" if self.error is None else "KILLED" if self.is_interrupted else "FAILED"
        self._client.set_terminated(self._run_id, status)


_WRITERS: dict[type[TrackingSpec], Callable[[Any, Path, Mapping[str, Any]], list[KVWriter]]] = {
    NoTracking: lambda tracking, folder, config: [],
    TensorBoardTracking: lambda tracking, folder, config: [TensorBoardOutputFormat(str(folder / "tensorboard"))],
    WandbTracking: lambda tracking, folder, config: [WandbWriter(tracking, folder, config)],
    MlflowTracking: lambda tracking, folder, config: [MlflowWriter(tracking, folder, config)],
}


def _import(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        hint = f"pip install 'tokenfleet[{library}]', or choose tracking=none"
        raise SpecError([f"tracking: {library} is not installed; {hint}"]) from None


def _run_name(folder: Path) -> str:
    return "/".join(folder.absolute().parts[-2:])


def _known_id(folder: Path) -> str | None:
    file = folder / ID_FILE
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def _remember_id(folder: Path, run_id: str) -> None:
    replace_file(folder / ID_FILE, f"{run_id}\n".encode())


def _numbers(key_values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(key_values.items()) if isinstance(value, (int, float))}
