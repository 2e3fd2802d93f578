"""docs/layers.md says what the layers are and by which law an iteration runs.

The page's formulas are read as they stand: `name = ...` or `name(argument) = ...`, further lines indented, `^` for
powers, names as in `Coefficients`; `line` is numpy's interpolation between the knots.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers import gpu, llm
from tokenfleet.envs.layers.gpu import LOWEST_CLOCK_FRACTION
from tokenfleet.envs.layers.llm import iteration
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import Batch
from tokenfleet.envs.layers.llm.profile import KNOTS
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.sleep import RESUME_BYTES_PER_S, RESUME_FIXED_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
(BLOCK,) = re.findall(r"(?m)^(    phi\(m\) .*\n(?:    .*\n)+)", PAGE)
PROFILES = [llm.ProfileSpec.parse(load_entry("profile", name)) for name in catalog_names("profile")]
LAWS = [Coefficients.of(gpu.load_gpu(p.gpu), llm.load_model(p.model), p) for p in PROFILES]


def as_python(block: str) -> str:
    joined = re.sub(r"\n {5,}", " ", block)
    defined = re.sub(r"(?m)^ +(\w+)\(([\w, ]+)\) += ", r"\1 = lambda \2: ", joined)
    return re.sub(r"(?m)^ +", "", defined).replace("^", "**")


def by_the_page(law: Coefficients, batch: Batch[float], clock: float) -> dict[str, float]:
    letters = {"B": batch.decoding, "C": batch.context, "P": batch.prefill, "A": batch.pairs, "F": clock}
    names = {**asdict(law), **letters, "line": lambda values, tokens: np.interp(tokens, KNOTS, values)}
    exec(compile(as_python(BLOCK), "docs/layers.md", "exec"), names)
    return names


@given(
    st.sampled_from(LAWS),
    st.builds(Batch, *[st.floats(1.0, high) for high in (512.0, 4e5)], st.floats(0.0, 8192.0), st.floats(0.0, 1e8)),
    st.floats(0.1, 1.0),
)
def test_the_page_has_the_law_of_an_iteration(law, batch, clock):
    page, physics = by_the_page(law, batch, clock), law.at_clock(clock)
    assert page["work"] == pytest.approx(iteration.iteration_work_j(physics, batch), rel=1e-12)
    if page["excess"] > 0.0:
        lowest, highest = min(LOWEST_CLOCK_FRACTION, clock), clock
        while highest - lowest > 1e-12:
            middle = 0.5 * (lowest + highest)
            holds = by_the_page(law, batch, middle)["excess"] <= 0.0
            lowest, highest = (middle, highest) if holds else (lowest, middle)
        page = by_the_page(law, batch, lowest)
        page["energy"] = page["limit_w"] * page["time"]
    assert page["time"] == pytest.approx(iteration.iteration_time_s(physics, batch), rel=1e-9)
    assert page["energy"] == pytest.approx(iteration.iteration_energy_j(physics, batch), rel=1e-9)
    assert page["pairs"](7, 3) == iteration.prefill_pairs(7, 3)


def test_the_module_states_the_law_in_the_same_words():
    assert BLOCK in iteration.__doc__


def test_the_page_lists_the_modules_that_there_are():
    rows = [row.split("|")[3] for row in PAGE.splitlines() if re.match(r"\| *\d? *\| \w+ \| `", row)]
    listed = {name for row in rows for name in re.findall(r"`(.*?)`", row)}
    layers = (ROOT / "envs" / "layers").iterdir()
    assert listed == {path.name + "/" * path.is_dir() for path in layers if not path.name.startswith("__")}


def test_a_replica_on_standby_wakes_as_the_page_says() -> None:
    assert f"{RESUME_FIXED_S} s + bytes of weights per board / {RESUME_BYTES_PER_S / 1e9}e9 bytes/s" in PAGE


def test_kv_cache_between_sites_takes_and_costs_what_the_page_says() -> None:
    said = re.search(
        r"at (\S+) Gbit/s and (\S+) USD/GB, (\S+) tokens of Llama 3.1 70B take (\S+) s and cost (\S+) USD, while "
        r"four H100 compute them in (\S+) s. Over lines of more than (\S+) GB/s",
        " ".join(PAGE.split()),
    )
    assert said is not None
    gbit_per_s, usd_per_gb, tokens, sent_s, sent_usd, computed_s, even_gb_per_s = (
        float(number.replace(",", "")) for number in said.groups()
    )
    scenario = load_scenario("budget-squeeze")
    arrays, network = FleetArrays.from_scenario(scenario), scenario.network
    gb = tokens * float(arrays.kv_bytes_per_token[0]) / 1e9
    compute_s = tokens * arrays.prompt_token_s[1] + iteration.prefill_pairs(tokens) * arrays.prefill_attention_s[1]
    assert (gbit_per_s, usd_per_gb) == (network.site_bytes_per_s * 8 / 1e9, network.site_usd_per_gb)
    assert sent_s == pytest.approx(tokens * arrays.kv_token_s[0, 1], abs=0.05)
    assert sent_usd == pytest.approx(gb * network.site_usd_per_gb, abs=0.005)
    assert computed_s == pytest.approx(compute_s, abs=0.05)
    assert even_gb_per_s == pytest.approx(gb / compute_s, abs=0.05)
