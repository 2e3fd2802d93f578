"""Set-points in [-1, 1]: what -1, 0 and 1 mean, and that encode undoes decode."""

from __future__ import annotations

import numpy as np
import pytest

from tests.interface.rows import decoded
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.supervision.setpoints import Setpoints


def test_the_middle_is_a_careful_operator() -> None:
    action = SetpointAction(load_scenario("default"))
    middle = decoded(action)
    assert (middle.power_share == 0.96).all()
    assert (middle.brake_share == 0.0).all()
    assert (middle.clock_bias == 0.0).all()
    assert (middle.route_bias_s == 0.0).all()
    assert middle.awake_replicas.tolist() == [action.loop.usual_replicas.tolist()]
    assert (middle.backlog_limit_s >= 5.0).all()


def test_noise_around_the_middle_changes_no_replica_and_all_numbers_are_within_reach() -> None:
    action = SetpointAction(load_scenario("default"))
    middle = decoded(action).awake_replicas
    for noise in (-0.1, 0.1):
        np.testing.assert_allclose(decoded(action, awake_replicas=noise).awake_replicas, middle)
    numbers = {
        int(decoded(action, awake_replicas=a).awake_replicas[0, -1].round()) for a in np.linspace(-0.6, 0.6, 101)
    }
    assert numbers == {0, 1, 2, 3, 4}
    assert (decoded(action, awake_replicas=-0.6).awake_replicas < 1e-12).all()
    assert decoded(action, awake_replicas=0.6).awake_replicas.tolist() == [[1.0, 4.0, 1.0, 4.0]]


def test_the_top_of_admission_is_no_limit() -> None:
    action = SetpointAction(load_scenario("tiny"))
    assert np.isinf(decoded(action, backlog_limit=0.9).backlog_limit_s).all()
    np.testing.assert_allclose(decoded(action, backlog_limit=-1.0).backlog_limit_s.max(), 0.3)


def test_a_scenario_offers_what_it_has() -> None:
    names = {
        name: {s.name for s in SetpointAction(load_scenario(name)).table if s.labels} for name in ("tiny", "default")
    }
    assert names["tiny"] == {"power_share", "brake_share", "clock_bias", "awake_replicas", "backlog_limit"}
    assert names["default"] - names["tiny"] == {"route_bias", "route_spread", "token_price_factor"}


@pytest.mark.parametrize("name", ["default", "demand-response-day", "budget-squeeze", "tiny"])
def test_encode_undoes_decode(name: str) -> None:
    action = SetpointAction(load_scenario(name))
    wanted = action.decode(np.random.default_rng(0).uniform(-1.2, 1.2, (200, *action.space.shape)))
    action.check(wanted)
    encoded = action.encode(wanted)
    assert encoded.dtype == np.float32
    assert all(action.space.contains(row) for row in encoded)
    again = action.decode(encoded)
    for key, values in vars(wanted).items():
        if values is not None:
            np.testing.assert_allclose(getattr(again, key), values, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", sorted(catalog_names("scenario")))
def test_every_shipped_scenario_has_the_box_and_its_middle_is_zero(name: str) -> None:
    action = SetpointAction(load_scenario(name))
    middle = action.decode(np.zeros((2, *action.space.shape)))
    action.check(middle)
    np.testing.assert_allclose(action.encode(middle), 0.0, atol=1e-6)


def test_what_controls_and_set_points_share_is_declared_alike() -> None:
    controls = {q.name: q for q in quantities_of(Controls)}
    for name in ("prefix_affinity", "token_price_factor"):
        shared = next(q for q in quantities_of(Setpoints) if q.name == name)
        assert (shared.axis, shared.low, shared.high, shared.neutral) == (
            controls[name].axis,
            controls[name].low,
            controls[name].high,
            controls[name].neutral,
        )
