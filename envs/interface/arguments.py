"""Checks of what a user hands to an environment.

A mistake in an argument is a `SpecError` that says what to write instead. A mistake in an action is a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, cast

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from tokenfleet.envs.fields import OUTCOMES
from tokenfleet.envs.interface.reward import Reward
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.spec import SpecError, shown, suggest
from tokenfleet.envs.splits import SPLITS

RENDER_MODES = ("ansi", "rgb_array")
RESET_OPTIONS = ("reset_mask", "split")
REFERENCE_REVENUE = "reference_revenue"
SINGLE_RESET_OPTIONS = ("split",)


def check_choices(
    num_envs: int,
    threads: int,
    split: str,
    render_mode: str | None,
    max_episode_steps: int | None,
    decide_every: int | None,
) -> None:
    """Refuse counts that are not positive integers, and unknown names.

    Raises:
        SpecError: one line per mistake.
    """
    counts = {
        "num_envs": num_envs,
        "threads": threads,
        "max_episode_steps": 1 if max_episode_steps is None else max_episode_steps,
        "decide_every": 1 if decide_every is None else decide_every,
    }
    problems = [
        f"{name}: must be a positive integer (got {shown(value)})"
        for name, value in counts.items()
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1
    ]
    if not _is_split(split):
        problems.append(f"split: unknown split {shown(split)}{suggest(split, SPLITS)}")
    if render_mode is not None and render_mode not in RENDER_MODES:
        problems.append(f"render_mode: unknown mode {shown(render_mode)}{suggest(render_mode, RENDER_MODES)}, or None")
    if problems:
        raise SpecError(problems)


def parse_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """The autoreset mode from a member of the enumeration, or from a member's name or value.

    >>> parse_autoreset_mode("SAME_STEP") is parse_autoreset_mode("SameStep")
    True
    """
    if isinstance(mode, AutoresetMode):
        return mode
    names = {member.value: member for member in AutoresetMode} | dict(AutoresetMode.__members__)
    if not isinstance(mode, str) or mode not in names:
        choices = [member.value for member in AutoresetMode]
        raise SpecError([f"autoreset_mode: unknown mode {shown(mode)}{suggest(mode, choices)}"])
    return names[mode]


def first_terms(reward: Reward, scenario: Scenario) -> dict[str, NDArray[Any]]:
    """The terms of an empty tick, `[1]` each: a first call that shows whether the reward works."""
    layout = Layout(OUTCOMES, axis_sizes(scenario))
    nothing = Record(layout, np.zeros((1, layout.width)))
    terms = reward(nothing, np.zeros((1, len(scenario.sites))))
    return {name: np.asarray(value) for name, value in terms.items()}


def checked_weights(weights: Mapping[str, float] | None, terms: Mapping[str, Any]) -> dict[str, float]:
    """The weights that are given, if any.

    Raises:
        SpecError: a weight is not a finite number, or belongs to no term.
    """
    weights = {} if weights is None else weights
    if not isinstance(weights, Mapping):
        raise SpecError([f"reward_weights: must be a mapping of terms to numbers (got {shown(weights)})"])
    problems = []
    for name, weight in weights.items():
        if name not in terms:
            problems.append(f"reward_weights.{name}: unknown term{suggest(name, terms)}")
        elif not _is_finite(weight):
            problems.append(f"reward_weights.{name}: must be a finite number (got {weight!r})")
    if problems:
        raise SpecError(problems)
    return dict(weights)


def checked_scale(scale: Any, reward: Reward, scenario: Scenario) -> float:
    """The number that the weighted terms of a tick are divided by.

    Args:
        scale: a positive number, `"reference_revenue"`, or None for the reward's own, else `"reference_revenue"`.
        reward: may have an attribute `reward_scale`; 1 means that its terms are already scaled.
        scenario: says what a tick earns if every request is served within its SLO.

    Raises:
        SpecError: the scale is neither, or the reference revenue is 0.
    """
    chosen = getattr(reward, "reward_scale", REFERENCE_REVENUE) if scale is None else scale
    if isinstance(chosen, str) and chosen == REFERENCE_REVENUE:
        reference_usd = scenario.reference_revenue_usd_per_s * scenario.tick_s
        if reference_usd <= 0.0:
            hint = "give reward_scale=1, or some class a price"
            raise SpecError([f"scenario.classes: every token is free, and rewards are a share of revenue; {hint}"])
        return reference_usd
    if not _is_finite(chosen) or chosen <= 0.0:
        raise SpecError([f"reward_scale: must be a positive number or {REFERENCE_REVENUE!r} (got {chosen!r})"])
    return float(chosen)


def _is_finite(value: Any) -> TypeGuard[float]:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))


def parse_reset_options(
    options: Mapping[str, Any] | None, num_envs: int, split: Split, known: Sequence[str] = RESET_OPTIONS
) -> tuple[NDArray[np.bool_], Split]:
    """Which fleets to reset, `[N]`, and the split of episodes from now on (`split` unless the options give one)."""
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        meant = f"; did you mean options={{'split': {options!r}}}?" if _is_split(options) else ""
        raise SpecError([f"options: must be a dict such as {{'split': 'test'}} (got {shown(options)}){meant}"])
    problems = [f"options.{name}: unknown option{suggest(name, known)}" for name in options if name not in known]
    chosen = options.get("split", split)
    if not _is_split(chosen):
        problems.append(f"options.split: unknown split {shown(chosen)}{suggest(chosen, SPLITS)}")
    mask = options.get("reset_mask", np.ones(num_envs, np.bool_))
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (num_envs,) and mask.any()):
        problems.append(
            f"options.reset_mask: must be a bool array of shape ({num_envs},) with a True in it (got {shown(mask)})"
        )
    if problems:
        raise SpecError(problems)
    return mask, cast(Split, chosen)


def checked_action(action: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """The action of a single environment, as it is.

    Raises:
        ValueError: it is not numbers of this shape, or holds NaN.
    """
    values = np.asarray(action)
    if values.dtype.kind not in "biuf" or values.shape != shape:
        got = f"shape {list(values.shape)}" if values.dtype.kind in "biuf" else shown(action)
        raise ValueError(f"action must be numbers of shape {list(shape)} (got {got})")
    if np.isnan(np.add.reduce(values, axis=None)) and np.isnan(values).any():
        raise ValueError(f"action holds NaN in entries {np.flatnonzero(np.isnan(values))[:5].tolist()}")
    return values


def checked_actions(actions: Any, num_envs: int) -> NDArray[Any]:
    """The actions of a batch, as they are; the action part checks their shape beyond the first axis.

    Raises:
        ValueError: they are not numbers, or not one row a fleet.
    """
    values = np.asarray(actions)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"actions must be an array of numbers [N, A] (got {shown(actions)})")
    if not values.ndim or len(values) != num_envs:
        given = len(values) if values.ndim else "one number"
        raise ValueError(f"actions: must be as many as fleets, {num_envs} (got {given})")
    return values


def parse_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """One seed for each fleet, as Gymnasium counts them: `seed`, `seed + 1`, ...

    >>> parse_seeds(7, 3)
    [7, 8, 9]
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        return [_seed(seed) + index for index in range(num_envs)]
    if not isinstance(seed, (Sequence, np.ndarray)) or isinstance(seed, str):
        raise SpecError([f"seed: must be a whole number, one for each fleet, or None (got {shown(seed)})"])
    if len(seed) != num_envs:
        raise SpecError([f"seed: must be as many as fleets, {num_envs} (got {len(seed)})"])
    return [None if one is None else _seed(one) for one in seed]


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SpecError([f"seed: must be a whole number, 0 or more (got {shown(value)})"])
    return int(value)


def _is_split(value: Any) -> bool:
    return isinstance(value, str) and value in SPLITS
