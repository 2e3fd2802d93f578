"""From the names and folders of a configuration to the policies that an evaluation compares."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenfleet.configs.schema import EvaluateConfig
from tokenfleet.envs.files.digest import SHORT_DIGITS, short_digest
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.identity import PROSE
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.learned.layout import has_checkpoint, run_of
from tokenfleet.policies.policy_files import SUFFIX, is_file_choice, resolved, told_under
from tokenfleet.policies.registry import make_policy

if TYPE_CHECKING:
    from tokenfleet.policies.learned.checkpoint_meta import CheckpointMeta
    from tokenfleet.policies.learned.network_policy import NetworkPolicy
    from tokenfleet.policies.learned.rebuilding import LearnedPolicy

Built = TypeVar("Built")
log = logging.getLogger(__name__)


def make_candidates(config: EvaluateConfig, env: Any) -> list[Candidate]:
    """The baselines and checkpoints of a configuration, with different labels.

    Args:
        config: of evaluate.py.
        env: a vector environment like those that they will act in.

    A policy that is named twice, by its parameters or by its weights, is one candidate.

    Raises:
        SpecError: one line per policy that is unknown, unreadable or made for another environment.
    """
    if not config.policies and not config.checkpoint:
        raise SpecError(["policies: nothing to evaluate; name policies, a checkpoint, or both"])
    context = PolicyContext.from_env(env, seed=config.seed)
    folders = [found for path in config.checkpoint for found in _folders(Path(path))]
    checkpoints = _checkpoints(folders, config, env)
    _check_limits_are_used(config, checkpoints)
    candidates = [
        *_built(config.policies, lambda choice: _baseline(choice, context)),
        *checkpoints,
    ]
    candidates = _once(candidates)
    _warn_of_shared_seeds(candidates)
    return _distinct(candidates)


def run_folders(candidates: Iterable[Candidate]) -> dict[str, Path]:
    """The folder of the training run behind each learned candidate, by label."""
    checkpoints = {
        candidate.label: Path(candidate.source["checkpoint"]) for candidate in candidates if candidate.learned
    }
    return {label: run_of(path) for label, path in checkpoints.items()}


def _baseline(choice: str | Mapping[str, Any], context: PolicyContext) -> Candidate:
    found = resolved(choice)
    name = found if isinstance(found, str) else str(found.get("name", ""))
    spelled_out = {"name": name} if isinstance(found, str) else dict(found)
    try:
        with told_under("policies"):
            policy = make_policy(found, context)
    except SpecError as error:
        if not is_file_choice(choice):
            raise
        problem = f"policies: {choice} does not fit this environment; a file suits the scenario that it was made for"
        raise SpecError([problem, *error.problems]) from None
    return Candidate(
        policy, _label(choice, name.rpartition(":")[2]), policy_hash=short_digest(spelled_out), source=found
    )


def _label(choice: str | Mapping[str, Any], name: str) -> str:
    """Its own name; of a file its name where it ships, else the file's stem before the policy's name."""
    if not isinstance(choice, str) or not is_file_choice(choice):
        return name
    return f"{Path(choice).stem}/{name}" if choice.endswith(SUFFIX) else choice


def _checkpoints(folders: list[Path], config: EvaluateConfig, env: Any) -> list[Candidate]:
    if not folders:
        return []
    from tokenfleet.policies.learned.sb3 import use_threads

    use_threads(config.threads)
    return [found for one in _built(folders, lambda folder: _checkpoint(folder, env, config)) for found in one]


def _checkpoint(folder: Path, env: Any, config: EvaluateConfig) -> list[Candidate]:
    """The policy of a checkpoint; if limits are its inputs, one policy for each limit that the configuration names."""
    from tokenfleet.policies.learned.checkpoint import load_policy

    policy = load_policy(folder, config.trust)
    try:
        policy.check_spaces(env.single_observation_space, env.single_action_space)
    except SpecError as error:
        here = _name_of(env)
        raise SpecError([f"{line} (here: {here}; checkpoint {folder})" for line in error.problems]) from None
    policy.prepare(env)
    origin = policy.meta.origin
    label = f"{policy.meta.algorithm.label}-seed{origin.training_seed}"
    _warn_of_transfer(label, origin.scenario, env)
    _warn_of_wrappers(label, origin.environment_wrappers, config.env.wrappers)
    choices = config.limits.choices(policy.limits)
    return _built(choices, lambda limits: _within(policy, limits, folder, config.deterministic))


def _within(policy: LearnedPolicy, limits: Mapping[str, float], folder: Path, deterministic: bool) -> Candidate:
    """A learned policy under these limits; none if no limit is its input."""
    try:
        told = policy.within(limits)
    except SpecError as error:
        raise SpecError([f"{line} (checkpoint {folder})" for line in error.problems]) from None
    origin = policy.meta.origin
    at = "".join(f"@{name}={value:g}" for name, value in limits.items())
    algorithm, weights = f"{policy.meta.algorithm.label}{at}", policy.meta.weights_sha256
    return Candidate(
        policy=told if deterministic else _Sampling(told),
        label=f"{algorithm}-seed{origin.training_seed}",
        algorithm=f"{algorithm}/{_recipe_hash(policy.meta)}",
        training_seed=origin.training_seed,
        learned=True,
        policy_hash=short_digest([weights, dict(limits)]) if limits else weights[:SHORT_DIGITS],
        source={
            "checkpoint": str(folder),
            "weights_sha256": policy.meta.weights_sha256,
            "trained_on": policy.trained_on,
            "timesteps": origin.timesteps,
            **({"limits": dict(limits)} if limits else {}),
        },
    )


def _check_limits_are_used(config: EvaluateConfig, checkpoints: Iterable[Candidate]) -> None:
    """Refuse a limit that is an input of no checkpoint: rules, and policies trained within one limit, keep their own.

    Raises:
        SpecError: one line per limit.
    """
    used = {name for candidate in checkpoints for name in candidate.source.get("limits", {})}
    unused = config.limits.by_name().keys() - used
    hint = "was trained for a range of it, so none would act otherwise; leave it out"
    if unused:
        raise SpecError([f"limits.{name.replace('/', '.')}: no checkpoint here {hint}" for name in sorted(unused)])


class _Sampling:
    """A network that draws its actions.

    torch draws for the whole batch at once, so the draws follow the first seed of the batch: they are the same whatever
    ran before, and others for batches of another size.
    """

    def __init__(self, policy: NetworkPolicy) -> None:
        self.predict, self.prepare = policy.predict, policy.prepare

    def begin_episodes(self, seeds: Iterable[int]) -> None:
        """See `tokenfleet.evaluation.candidates.DrawsPerEpisode`."""
        import torch

        torch.manual_seed(next(iter(seeds)))


def _folders(path: Path) -> list[Path]:
    """A checkpoint or run itself, or the runs of a sweep."""
    if has_checkpoint(path) or not path.is_dir():
        return [path]
    return [folder for folder in sorted(path.iterdir()) if has_checkpoint(folder)] or [path]


def _built(choices: Iterable[Any], build: Callable[[Any], Built]) -> list[Built]:
    """What each choice becomes, every mistake reported at once."""
    built: list[Built] = []
    problems: list[str] = []
    for choice in choices:
        try:
            built.append(build(choice))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return built


def _once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates without repetitions."""
    known: dict[str, Candidate] = {}
    for candidate in candidates:
        first = known.setdefault(candidate.policy_hash, candidate)
        if first is candidate:
            continue
        if candidate.learned:
            here, there = candidate.source["checkpoint"], first.source["checkpoint"]
            log.warning("checkpoint: %s holds the weights of %s, and is evaluated once", here, there)
        else:
            log.warning("policies: %s is named twice, and is evaluated once", candidate.label)
    return list(known.values())


def _warn_of_shared_seeds(candidates: Iterable[Candidate]) -> None:
    """Say so where checkpoints come from one training seed, for `make_study` does not count them as several."""
    trained: dict[tuple[str, int | None], list[str]] = {}
    for candidate in candidates:
        if candidate.learned:
            same = trained.setdefault((candidate.algorithm, candidate.training_seed), [])
            same.append(str(candidate.source["checkpoint"]))
    for (_, seed), paths in trained.items():
        if len(paths) > 1:
            message = (
                "checkpoint: %s were trained with one seed, %s; they are compared one by one, not as training seeds"
            )
            log.warning(message, " and ".join(paths), seed)


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Number labels that occur twice, and name algorithms: `ppo`, and `ppo-2` for another way of training."""
    labels: dict[str, int] = {}
    recipes: dict[str, list[str]] = {}
    distinct = []
    for candidate in candidates:
        count = labels[candidate.label] = labels.get(candidate.label, 0) + 1
        label = candidate.label if count == 1 else f"{candidate.label}-{count}"
        algorithm = label
        if candidate.learned:
            name = candidate.algorithm.rpartition("/")[0]
            known = recipes.setdefault(name, [])
            if candidate.algorithm not in known:
                known.append(candidate.algorithm)
            position = known.index(candidate.algorithm) + 1
            algorithm = name if position == 1 else f"{name}-{position}"
        distinct.append(replace(candidate, label=label, algorithm=algorithm))
    return distinct


def _recipe_hash(meta: CheckpointMeta) -> str:
    """Hash of everything that runs with different training seeds share; the best checkpoint's age is chance."""
    origin = {"environment", "environment_kwargs", "environment_wrappers", "scenario"}
    base = {"reach", "choice"}  # a learned base has a seed of its own
    shared = meta.model_dump(
        mode="json",
        include={"algorithm": True, "origin": origin, "base": base},
        exclude={"origin": {"scenario": PROSE}},
    )
    if meta.limits:
        shared["limits"] = [one.model_dump(mode="json") for one in meta.limits]
    return short_digest(shared)


def _warn_of_transfer(label: str, trained: Mapping[str, Any] | None, env: Any) -> None:
    """Say so if a policy was trained in another scenario or environment with the same spaces."""
    scenario = getattr(env.unwrapped, "scenario", None)
    here = None if scenario is None else scenario.model_dump(mode="json")
    changed = sorted(_differences(trained or {}, here or {}) - {f"scenario.{key}" for key in PROSE})
    if not changed:
        return
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    log.warning("%s was trained in another scenario than this one (%s%s)", label, ", ".join(changed[:3]), more)


def _warn_of_wrappers(label: str, trained: Sequence[Any], here: Sequence[Any]) -> None:
    """Say so where a policy meets other wrappers than in training."""
    if list(trained) != list(here):
        shown = (json.dumps(list(wrappers)) for wrappers in (trained, here))
        log.warning("%s was trained under env.wrappers=%s, and is evaluated under %s", label, *shown)


def _differences(first: Any, second: Any, key: str = "scenario") -> set[str]:
    """Dotted keys at which two trees differ."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        inner = (_differences(first.get(name), second.get(name), f"{key}.{name}") for name in {*first, *second})
        return set().union(*inner)
    return set() if first == second else {key}


def _name_of(env: Any) -> str:
    scenario = getattr(env.unwrapped, "scenario", None)
    if scenario is not None:
        return f"scenario={scenario.name}"
    return str(env.spec.id) if env.spec is not None else type(env.unwrapped).__name__
