"""What it means that two engines agree."""

from __future__ import annotations

import numpy as np

from tests.engine.instances import Instance
from tests.engine.runs import Run, run

COUNTED = ("requests", "tokens", "events")
RUNNING_SUMS = ("overdue_usd", "overdue_change_usd")
"""Quantities that are added and taken away again."""


def assert_same(reference: Run, native: Run) -> None:
    """Request by request and tick by tick; raises AssertionError with the first difference."""
    for name in ("asked_s", "first_token_s", "finished_s"):
        np.testing.assert_allclose(
            getattr(native.log, name), getattr(reference.log, name), rtol=0, atol=1e-8, err_msg=name
        )
    for name in ("status", "replica"):
        np.testing.assert_array_equal(getattr(native.log, name), getattr(reference.log, name), err_msg=name)
    for field in reference.outcomes.layout:
        wanted, got = reference.outcomes[field.name], native.outcomes[field.name]
        if field.unit in COUNTED:
            np.testing.assert_array_equal(got, wanted, err_msg=field.name)
        elif field.unit == "J":
            off_j = 1e-13 * reference.outcomes["facility_energy_j"].sum()
            np.testing.assert_allclose(got, wanted, rtol=0, atol=off_j, err_msg=field.name)
        else:
            # A running sum keeps the rounding of the largest sum that it has been.
            off = 1e-7 + (1e-14 * np.abs(wanted).max(initial=0.0) if field.name in RUNNING_SUMS else 0.0)
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=off, err_msg=field.name)
    np.testing.assert_allclose(native.views.rows, reference.views.rows, rtol=1e-5, atol=1e-6)


def both(instance: Instance) -> tuple[Run, Run]:
    """The instance in the reference and in the native engine."""
    reference, native = (
        run(engine, instance.arrays, instance.episode, instance.controls) for engine in ("reference", "native")
    )
    return reference, native
