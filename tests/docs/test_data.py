"""The examples of docs/data.md work, and its figures of size are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.catalog.hourly import HourlySpec
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
SITE, ENTRY, DISTANCES = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S))


def dotted(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Overrides of `load_scenario`; what stands below a site's section is one value."""
    overrides: dict[str, Any] = {}
    for key, value in tree.items():
        deeper = key in ("sites", "east", "west", "grid", "facility")
        overrides |= dotted(value, f"{prefix}{key}.") if deeper else {f"{prefix}{key}": value}
    return overrides


@pytest.mark.parametrize("example", [SITE, DISTANCES])
def test_the_scenarios_of_the_page_draw_episodes(example: dict[str, Any]) -> None:
    scenario = load_scenario("default", dotted(example))
    assert len(sample_episode(scenario, 0).requests) > 0


def test_the_described_site_sees_a_day_go_by() -> None:
    episode = sample_episode(load_scenario("default", dotted(SITE)), 0)
    assert episode.solar_w.min(axis=0).tolist() == [0.0, 0.0]
    assert episode.solar_w.max(axis=0).min() > 0.0
    assert (episode.outdoor_c.max(axis=0) - episode.outdoor_c.min(axis=0)).min() > 3.0


def test_the_described_entry_is_one() -> None:
    assert HourlySpec.parse({"name": "mine", **ENTRY}).columns["price_usd_per_mwh"].first_h == 0.5


def test_the_shipped_data_are_as_small_as_the_page_says() -> None:
    (said,) = re.findall(r"ships inside the package \((\d+) kB\)", PAGE.read_text())
    size = sum(file.stat().st_size for kind in ("series", "rtt") for file in (SHIPPED / kind).iterdir())
    assert size / 1000 == pytest.approx(float(said), rel=0.02)
