"""Gymnasium's batched infos: every key stands beside a mask `_key` of the environments that have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Info = dict[str, Any]


def with_masks(values: Mapping[str, Any], mask: NDArray[np.bool_], complete: bool = False) -> Info:
    """`values` (arrays `[N, ...]`, or dicts of them) as infos of the environments in `mask`; the others' are zero.

    Where values are objects, the others' are None.

    >>> with_masks({"cost": np.array([1.0, 2.0])}, np.array([True, False]))
    {'cost': array([1., 0.]), '_cost': array([ True, False])}

    Args:
        values: by name.
        mask: `[N]`.
        complete: take the values as they are, without zeros: for a mask of every environment, or for blanks.
    """
    info: Info = {}
    for name, value in values.items():
        if isinstance(value, dict):
            info[name] = with_masks(value, mask, complete)
        elif complete:
            info[name] = value
        else:
            nothing = None if value.dtype.hasobject else np.zeros((), value.dtype)
            info[name] = np.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, nothing)
        info[f"_{name}"] = mask
    return info


class BatchInfos:
    """The infos of N fleets: every reset and every step gives the same keys, shapes and types.

    Args:
        blank: what infos hold while there is nothing to report, `[N]` each, or a dict of such arrays.
        constant: infos that never change, likewise.
        num_envs: N.

    Attributes:
        blank, constant: as given.
    """

    def __init__(self, blank: Mapping[str, Any], constant: Mapping[str, Any], num_envs: int) -> None:
        self.blank, self.constant = blank, constant
        self._num_envs = num_envs
        self._everyone = np.ones(num_envs, np.bool_)
        self._everyone.flags.writeable = False  # the infos of all steps share it
        self._untold = with_masks(blank, np.zeros(num_envs, np.bool_), complete=True)
        self._always = with_masks(constant, self._everyone, complete=True)

    def of_reset(self, route_mask: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Info:
        """After a reset of the fleets in `mask`: blanks for all, and these fleets' constants and routes."""
        return self._nothing(*self.blank) | with_masks({**self.constant, "route_mask": route_mask}, mask)

    def of_step(
        self, happened: Mapping[str, Any], ending: Mapping[str, Any], idle: list[int], ended: list[int]
    ) -> Info:
        """After a step, without constants and routes.

        Args:
            happened: infos of the step, `[N]` each; the `idle` fleets have none.
            ending: infos of an episode's end, for the `ended` fleets.
            idle: fleets that spent the step on a new episode.
            ended: fleets whose episode has just ended.
        """
        ticked = ~self.only(idle) if idle else self._everyone
        told = with_masks(ending, self.only(ended)) if ended else self._nothing("episode_metrics")
        return with_masks(happened, ticked, not idle) | told

    def of_routes(self, route_mask: NDArray[np.bool_]) -> Info:
        """Constants, and where the requests of each class can go now, of every fleet."""
        return _copied(self._always) | {"route_mask": route_mask, "_route_mask": self._everyone}

    def of_last(self, observations: NDArray[Any], info: Mapping[str, Any], ended: list[int]) -> Info:
        """`final_obs` and `final_info` of the `ended` fleets, as `SyncVectorEnv` gives them."""
        final_obs = np.full(self._num_envs, None, dtype=object)
        for index in ended:
            final_obs[index] = observations[index].copy()
        mask = self.only(ended)
        return {
            "final_obs": final_obs,
            "_final_obs": mask,
            "final_info": with_masks(info, mask),
            "_final_info": mask,
        }

    def only(self, fleets: list[int]) -> NDArray[np.bool_]:
        """The mask of some fleets."""
        mask = np.zeros(self._num_envs, np.bool_)
        mask[fleets] = True
        return mask

    def _nothing(self, *names: str) -> Info:
        """Entries of `blank` under masks that let nothing through."""
        return _copied({key: self._untold[key] for name in names for key in (name, f"_{name}")})


def _copied(info: Info) -> Info:
    """The same infos in dicts of their own; the arrays are shared."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in info.items()}


def info_of(info: Mapping[str, Any], index: int) -> Info:
    """The info of one environment, as without a batch: the inverse of `with_masks`, numbers as plain Python ones.

    >>> info_of({"cost": np.array([1.0, 2.0]), "_cost": np.array([True, False])}, 0)
    {'cost': 1.0}
    """
    return infos_of(info, [index])[0]


def infos_of(info: Mapping[str, Any], indices: Sequence[int]) -> list[Info]:
    """The info of each of some environments; see `info_of`.

    >>> infos_of({"cost": np.array([1.0, 2.0]), "_cost": np.array([True, False])}, [0, 1])
    [{'cost': 1.0}, {}]
    """
    singles: list[Info] = [{} for _ in indices]
    for name, value in info.items():
        told = None if name.startswith("_") else info[f"_{name}"][indices]
        if told is None or not told.any():
            continue
        entries: Iterable[Any]
        if isinstance(value, Mapping):
            entries = infos_of(value, indices)
        else:
            chosen = value[indices]
            entries = chosen if value.ndim > 1 else chosen.tolist()
        for single, entry, is_there in zip(singles, entries, told.tolist(), strict=True):
            if is_there:
                single[name] = entry
    return singles
