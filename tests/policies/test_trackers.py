"""A run's numbers reach the tracker that was chosen; libraries are stood in for by objects that record their calls."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.command_line import QUICK, Run

TINY = "scenario=tiny scenario.horizon_ticks=20"


class FakeWandb:
    """Weights & Biases, as far as it is used."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.finished: list[int] = []

    def init(self, **arguments: Any) -> Any:
        self.begun.append(arguments)
        return SimpleNamespace(id=arguments["id"] or "fresh", log=self.log, finish=self.finish)

    def log(self, row: dict[str, float], step: int) -> None:
        self.rows.append((step, row))

    def finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)


class FakeMlflow:
    """MLflow's client, as far as it is used."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, str, float, int]] = []
        self.created: list[tuple[str, str]] = []
        self.kept: dict[str, dict[str, Any]] = {}
        self.statuses: list[tuple[str, str]] = []

    def MlflowClient(self, tracking_uri: str | None) -> FakeMlflow:  # noqa: N802 (the library's name)
        self.uri = tracking_uri
        return self

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def create_run(self, experiment_id: str, run_name: str) -> Any:
        self.created.append((experiment_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="run 7"))

    def log_dict(self, run_id: str, data: dict[str, Any], file: str) -> None:
        self.kept[file] = data

    def log_metric(self, run_id: str, name: str, value: float, step: int) -> None:
        self.metrics.append((run_id, name, value, step))

    def update_run(self, run_id: str, status: str) -> None:
        self.statuses.append((run_id, status))

    def set_terminated(self, run_id: str, status: str) -> None:
        self.statuses.append((run_id, status))


def columns(run: Path) -> set[str]:
    return set((run / "progress.csv").read_text().splitlines()[0].split(",")) - {"steps"}


def test_wandb_gets_the_rows_of_progress_csv(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    trained = run(f"train {QUICK} {TINY} tracking=wandb tracking.project=mine tracking.mode=offline hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    (begun,) = fake.begun
    assert (begun["project"], begun["mode"], begun["id"]) == ("mine", "offline", None)
    assert begun["config"]["scenario"]["name"] == "tiny"
    assert {name for _, row in fake.rows for name in row} == columns(Path("run"))
    assert fake.rows[-1][0] == 64
    assert fake.finished == [0]


def test_mlflow_gets_the_rows_of_progress_csv(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    trained = run(f"train {QUICK} {TINY} tracking=mlflow tracking.uri=http://localhost:1 hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    assert fake.uri == "http://localhost:1"
    assert [experiment for experiment, _ in fake.created] == ["experiment tokenfleet"]
    assert fake.kept["config.yaml"]["seed"] == 0
    assert {name for _, name, _, _ in fake.metrics} == columns(Path("run"))
    assert fake.statuses == [("run 7", "FINISHED")]


def test_a_resumed_run_goes_on_in_the_same_run_of_its_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenfleet.policies.learned.trackers import make_writers
    from tokenfleet.policies.learned.tracking import WandbTracking

    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for _ in range(2):
        make_writers(WandbTracking(), tmp_path, {})
    assert [(begun["id"], begun["resume"]) for begun in fake.begun] == [(None, None), ("fresh", "allow")]


ENDS = [(KeyboardInterrupt, 130, "KILLED"), (MemoryError, 1, "FAILED"), (ZeroDivisionError, 1, "FAILED")]


@pytest.mark.parametrize(("error", "exit_code", "status"), ENDS)
def test_a_run_that_does_not_come_to_its_end_is_no_finished_run(
    error: type[BaseException], exit_code: int, status: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **kwargs: Any) -> None:
        raise error

    wandb, mlflow = FakeWandb(), FakeMlflow()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr("tokenfleet.policies.learned.training._learn", fail)
    for tracking in ("wandb", "mlflow"):
        with contextlib.suppress(ZeroDivisionError):  # a defect of our own, which the tests see as it is
            assert run(f"train {QUICK} {TINY} tracking={tracking} hydra.run.dir={tracking}").code != 0
    assert wandb.finished == [exit_code]
    assert mlflow.statuses == [("run 7", status)]


def test_a_run_of_mlflow_that_goes_on_is_running_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenfleet.policies.learned.trackers import make_writers
    from tokenfleet.policies.learned.tracking import MlflowTracking

    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    for _ in range(2):
        make_writers(MlflowTracking(), tmp_path, {})
    assert (len(fake.created), fake.statuses) == (1, [("run 7", "RUNNING")])


@pytest.mark.parametrize("library", ["wandb", "mlflow"])
def test_a_missing_library_is_answered_in_one_line(
    library: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    refused = run(f"train {QUICK} {TINY} tracking={library}")
    assert refused.code == 2
    hint = f"pip install 'tokenfleet[{library}]', or choose tracking=none"
    assert refused.errors == f"tracking: {library} is not installed; {hint}\n"
    assert list(tmp_path.iterdir()) == []
