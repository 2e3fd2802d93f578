"""What the scripts may be told: one validated tree each, checked once, every mistake reported at once.

Hydra composes `configs/train.yaml` and its groups; `configs.parsing` checks what comes out against these types.
`configs.entry` has the keys that all scripts take. The sentence about each key stands in the YAML, where a person
reads it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Self

from tokenfleet.configs.entry import EntryConfig, Folder, Seed, listed
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.spec import Count, NonNegativeFloat, PositiveFloat, PositiveInt, Spec, SpecError, counted, shown
from tokenfleet.policies.choices import PolicyChoice
from tokenfleet.policies.learned.algorithms import AnyAlgorithm
from tokenfleet.policies.learned.limits import ChosenLimits, LimitsSpec
from tokenfleet.policies.learned.tracking import AnyTracking, TensorBoardTracking
from tokenfleet.policies.learned.updates import batch_problem, learning_problem

TrainingReward = Literal["net_value", "certain_value", "cap_aware"]
FEEDBACK_POLICY = "linear_feedback"
"""The policy whose gains a search of feedback finds."""


def _device(name: str) -> str:
    if not re.fullmatch(r"cpu|auto|cuda(:\d+)?", name):
        raise ValueError(f"must be cpu, cuda, cuda:<number> or auto (got {shown(name)})")
    return name


Device = Annotated[str, AfterValidator(_device)]


class EvaluationDuringTraining(Spec):
    """Validation while training, on episodes of the `validation` split that are the same every time.

    Attributes:
        every: environment steps between two validations; None for none.
        episodes: in each.
        seed: of the episodes; shared by runs that are to be compared.
        n_envs: environments side by side.
    """

    every: Count | None = 50_000
    episodes: Count = 16
    seed: Seed = 1_000_000
    n_envs: Count = 16


class PolicyConfig(Spec):
    """What is trained.

    Attributes:
        base: what the network corrects: a policy as `EvaluateConfig.policies` takes it, or a checkpoint or run folder;
            None for a network that acts by itself.
        reach: share of the action's range that the ends of a correction stand for.
    """

    base: PolicyChoice | None = None
    reach: PositiveFloat = 1.0


class TrainConfig(EntryConfig):
    """The configuration of train.py.

    Attributes:
        algo: algorithm and hyper-parameters.
        total_timesteps: environment steps to train for, over all environments.
        reward: of fleets that are trained on, if `env.kwargs.reward` names none.
        policy: see `PolicyConfig`.
        limits: see `LimitsSpec`.
        validation: see `EvaluationDuringTraining`.
        log_every: environment steps between two rows of progress.csv.
        snapshot_every: environment steps between two snapshots of the whole training state.
        tracking: where the numbers go beside progress.csv.
        progress_bar: show a bar where the output is a terminal.
        device: of torch.
    """

    script = "train.py"

    algo: AnyAlgorithm
    total_timesteps: Count
    reward: TrainingReward = "cap_aware"
    policy: PolicyConfig = PolicyConfig()
    limits: LimitsSpec = LimitsSpec()
    validation: EvaluationDuringTraining = EvaluationDuringTraining()
    log_every: Count = 8192
    snapshot_every: Count = 50_000
    tracking: AnyTracking = TensorBoardTracking()
    progress_bar: bool = True
    device: Device = "cpu"

    @property
    def extent(self) -> str:
        """See `EntryConfig`."""
        return f"{self.total_timesteps} steps"

    def check_new(self) -> None:
        """See `EntryConfig`; a policy that learns nothing is nothing."""
        found = (
            batch_problem(self.algo, self.n_envs),
            learning_problem(self.algo, self.n_envs, self.total_timesteps),
        )
        problems = [problem for problem in found if problem is not None]
        if problems:
            raise SpecError(problems)


class EvaluateConfig(EntryConfig):
    """The configuration of evaluate.py.

    Attributes:
        policies: baselines, each a name, a `module:Class`, or a mapping with `name` and parameters.
        checkpoint: checkpoint or run folders.
        limits: within which checkpoints act that were trained for a range; each is evaluated at every combination.
        episodes: that every policy meets.
        n_envs: see `EntryConfig`.
        split: which part of traces and random streams the episodes come from.
        deterministic: the most likely action instead of a sample.
        formats: of the results file.
        figures: also draw figures.
    """

    script = "evaluate.py"

    policies: Annotated[tuple[PolicyChoice, ...], BeforeValidator(listed)] = (
        "careful_operator",
        "feedback_capping",
        "least_work",
        "greedy_efficiency",
    )
    checkpoint: Annotated[tuple[Folder, ...], BeforeValidator(listed)] = ()
    limits: ChosenLimits = ChosenLimits()
    episodes: Count = 100
    n_envs: Count = 16
    split: Split = "test"
    deterministic: bool = True
    formats: Annotated[tuple[Literal["parquet", "csv"], ...], BeforeValidator(listed), Field(min_length=1)] = (
        "parquet",
        "csv",
    )
    figures: bool = True

    @property
    def extent(self) -> str:
        """See `EntryConfig`."""
        return counted(self.episodes, "episode")


class ChoiceAfterTuning(Spec):
    """The validation episodes by which a tuner chooses among the results of its search, its start included.

    Attributes:
        episodes: how many.
        seed: of the episodes.
    """

    episodes: Count = 64
    seed: Seed = 1_000_000


class TuneConfig(EntryConfig):
    """The configuration of tune.py.

    Attributes:
        policy: whose numbers are tuned, and from where: as `EvaluateConfig.policies` takes it.
        evaluations: candidates, over all generations.
        episodes: training episodes that every candidate of a generation meets; each generation meets others.
        spread: standard deviation of the first generation, on the scales of `tokenfleet.policies.tunable`.
        population: candidates of a generation; None for 4 + 3 ln D, of D numbers.
        diagonal: adapt a standard deviation for each number instead of a whole covariance matrix.
        feedback_generations: of the search of gains for `linear_feedback`, instead of a search of a policy's numbers.
        above_cap_limit_s: most mean seconds above a cap in an episode that feedback may take; None for no limit.
        validation: see `ChoiceAfterTuning`.
        workers: processes.
    """

    script = "tune.py"

    policy: PolicyChoice = "supervisor"
    evaluations: Annotated[Count, Field(ge=2)] = 64
    episodes: Count = 16
    n_envs: Count = 64
    spread: PositiveFloat = 0.3
    population: Annotated[int, Field(ge=2, strict=True)] | None = None
    diagonal: bool = True
    feedback_generations: PositiveInt | None = None
    above_cap_limit_s: NonNegativeFloat | None = None
    validation: ChoiceAfterTuning = ChoiceAfterTuning()
    workers: PositiveInt = 2

    @model_validator(mode="after")
    def _feedback_fits(self) -> Self:
        if self.feedback_generations is None:
            if self.above_cap_limit_s is not None:
                raise SpecError(["above_cap_limit_s: is for the search of feedback; set feedback_generations too"])
            return self
        problems = []
        if self.scenario is None:
            problems.append("feedback_generations: is for fleets; leave it out for another environment")
        if self.policy != FEEDBACK_POLICY:
            problems.append(f"policy: with feedback_generations say {FEEDBACK_POLICY} (got {shown(self.policy)})")
        if self.engine != "native":
            problems.append(f"engine: the search of feedback runs in native alone (got {self.engine})")
        odd = sorted(set(self.env.kwargs) - {"action", "observation", "decide_every"})
        if self.env.kwargs.get("decide_every", SetpointAction.decide_every) != SetpointAction.decide_every:
            odd.append("decide_every")
        if odd or self.env.wrappers:
            what = ", ".join(
                [*(f"env.kwargs.{name}" for name in odd), *(["env.wrappers"] if self.env.wrappers else [])]
            )
            problems.append(f"{what}: the search of feedback knows env=fleet and env=fleet_setpoints as they are alone")
        if problems:
            raise SpecError(problems)
        return self

    @property
    def extent(self) -> str:
        """See `EntryConfig`."""
        if self.feedback_generations is not None:
            return f"{counted(self.feedback_generations, 'generation')} of feedback"
        return counted(self.evaluations, "evaluation")
