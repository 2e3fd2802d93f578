"""Policies: heuristics, learned policies, and the seam through which both are used."""

if __name__ != "tokenfleet.policies":
    raise ImportError("import tokenfleet.policies, not policies")

from tokenfleet.policies.base import ControlPolicy, Policy, PolicyContext, State
from tokenfleet.policies.registry import POLICIES, make_policy, register_policy

__all__ = ["POLICIES", "ControlPolicy", "Policy", "PolicyContext", "State", "make_policy", "register_policy"]
