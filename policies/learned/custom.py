"""Algorithms, policies and features extractors that a user names, checked by their signatures before they are built."""

from __future__ import annotations

from typing import Any, cast

import gymnasium
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.policies.learned.custom_spec import SET_ELSEWHERE, CustomSpec
from tokenfleet.policies.learned.named_values import import_class, realise
from tokenfleet.policies.learned.trust import is_class_path
from tokenfleet.policies.parameters import check_parameters, keyword_parameters

_MODEL_LEADING, _POLICY_LEADING, _EXTRACTOR_LEADING = 2, 3, 1
"""Arguments by position: policy and environment; two spaces and a schedule; the observation space."""
WITHHELD = (*SET_ELSEWHERE, "use_sde", "sde_sample_freq", "use_sde_at_warmup")
_USUAL_GAMMA = 0.99


def model_class(spec: CustomSpec) -> type[BaseAlgorithm]:
    """The algorithm's class.

    Raises:
        SpecError: it cannot be imported, or is not a subclass of `BaseAlgorithm`.
    """
    found = import_class(spec.model, "algo.model")
    if not issubclass(found, BaseAlgorithm):
        raise SpecError([f"algo.model: {spec.model} must be a subclass of stable_baselines3's BaseAlgorithm"])
    return cast("type[BaseAlgorithm]", found)


def arguments(spec: CustomSpec, action: gymnasium.Space[Any]) -> dict[str, Any]:
    """The constructor's keyword arguments.

    Raises:
        SpecError: one line per argument that the class does not take.
    """
    where = "algo.kwargs"
    return check_parameters(model_class(spec), _MODEL_LEADING, realise(spec.kwargs, where), where, WITHHELD)


def gamma(spec: CustomSpec) -> float:
    """Discount of the next step's value: what was given, else the constructor's default."""
    parameters, _ = keyword_parameters(model_class(spec), _MODEL_LEADING)
    default = parameters["gamma"].default if "gamma" in parameters else _USUAL_GAMMA
    return float(spec.kwargs.get("gamma", default))


def policy(spec: CustomSpec) -> str | type[BasePolicy] | None:
    """The policy's class, or stable-baselines3's name for it; None to choose by the observation.

    Raises:
        SpecError: there is none of this name, or it is no policy.
    """
    if spec.policy is None:
        return None
    if not is_class_path(spec.policy):
        known = model_class(spec).policy_aliases
        if spec.policy not in known:
            hint = suggest(spec.policy, known)
            raise SpecError([f"algo.policy: {spec.model} knows no policy {spec.policy!r}{hint}, or 'module:Class'"])
        return spec.policy
    found = import_class(spec.policy, "algo.policy")
    if not issubclass(found, BasePolicy):
        raise SpecError([f"algo.policy: {spec.policy} must be a subclass of stable_baselines3's BasePolicy"])
    return cast("type[BasePolicy]", found)


def network(spec: CustomSpec) -> dict[str, Any]:
    """The policy's keyword arguments, with the classes that they name."""
    return cast("dict[str, Any]", realise(spec.policy_kwargs, "algo.policy_kwargs"))


def check_network(given: dict[str, Any], policy_class: type[BasePolicy]) -> dict[str, Any]:
    """The policy's keyword arguments, checked against its signature and that of its features extractor.

    Raises:
        SpecError: one line per argument that one of them does not take.
    """
    where = "algo.policy_kwargs"
    checked = check_parameters(policy_class, _POLICY_LEADING, given, where)
    parameters, _ = keyword_parameters(policy_class, _POLICY_LEADING)
    default = parameters.get("features_extractor_class")
    extractor = checked.get("features_extractor_class", default.default if default is not None else None)
    inner = checked.get("features_extractor_kwargs")
    if extractor is not None:
        check_parameters(extractor, _EXTRACTOR_LEADING, inner or {}, f"{where}.features_extractor_kwargs")
    return checked
