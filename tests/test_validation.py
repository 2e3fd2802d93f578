"""What the model is held to: every claim within its target, every fact as published."""

import pytest

from calibration import prompts, whole_runs
from calibration.validation.claims import CLAIMS, FACTS

COMPARED = {**whole_runs.CLAIMS, **prompts.CLAIMS}
# Slow to fit, and tested in tests/test_calibration.py and tests/test_agents_calibration.py.
QUICK = CLAIMS[:3]


@pytest.mark.parametrize("claim", QUICK, ids=lambda claim: claim.__name__)
def test_a_claim_is_within_its_target(claim):
    found = claim()
    assert len(found.errors) >= 5
    assert found.errors.mean() <= found.target


@pytest.mark.parametrize("name", [name for name, (_, target) in COMPARED.items() if target])
def test_whole_runs_and_prompts_are_within_their_targets(name):
    compare, target = COMPARED[name]
    found = compare()
    assert len(found.measured) == len(found.predicted) == len(found.group) >= 2
    assert found.mean_error <= target


def test_every_request_of_a_whole_run_is_compared():
    assert len(whole_runs.vllm_each_e2e().errors) == 600
    assert len(whole_runs.vidur_each_e2e().errors) == 5000


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_a_published_fact_emerges(fact):
    assert fact().holds, fact().found
