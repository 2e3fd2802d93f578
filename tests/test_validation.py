"""What the model is held to: every claim within its target, every fact as published."""

import pytest

from calibration.validation.claims import CLAIMS, FACTS

# Slow to fit, and tested in tests/test_calibration.py and tests/test_agents_calibration.py.
QUICK = CLAIMS[:3]


@pytest.mark.parametrize("claim", QUICK, ids=lambda claim: claim.__name__)
def test_a_claim_is_within_its_target(claim):
    found = claim()
    assert len(found.errors) >= 5
    assert found.errors.mean() <= found.target


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_a_published_fact_emerges(fact):
    assert fact().holds, fact().found
