"""How an agent works: a fitted description of its sessions, `catalog/agent/<name>.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry
from tokenfleet.envs.layers.agents.quantiles import QuantileSpec
from tokenfleet.envs.spec import Name, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Spec, UnitFraction

Correlation = Annotated[float, Field(ge=-1, le=1)]


class SubAgentSpec(Spec):
    """Sub-agents: conversations of their own. A main call launches them side by side, and the next one waits for all.

    Attributes:
        session_fraction: share of sessions that use them at all.
        launch_probability: in such a session, share of main calls that launch some.
        mean_width: mean number launched together (geometric).
        group_tokens: tokens of tool definitions that all sub-agents share.
        calls: calls of one sub-agent.
        first_prompt_tokens, new_tokens, output_tokens: as in `AgentSpec`.
        wait_s: time before each call of a sub-agent, the first one included [s].
    """

    session_fraction: UnitFraction
    launch_probability: UnitFraction
    mean_width: float = Field(ge=1, allow_inf_nan=False)
    group_tokens: PositiveInt
    calls: QuantileSpec
    first_prompt_tokens: QuantileSpec
    new_tokens: QuantileSpec
    output_tokens: QuantileSpec
    wait_s: QuantileSpec


class AgentSpec(Spec):
    """Sessions of one kind of agent.

    Attributes:
        calls: main calls of a session.
        groups: tokens of a set of tool definitions -> how many sessions use it, relative to the other sets.
        system_tokens: system prompt behind the tools, each session's own; kept when the context is reset.
        first_prompt_tokens: prompt of a session's first call, tools and system prompt included.
        new_tokens: prompt tokens of a later call that the conversation did not have: the last answer and what a tool or
            a person said.
        opening_calls: how many later calls of a session come first, in which an agent reads more.
        opening_new_tokens: their new tokens.
        calls_to_first_prompt, calls_to_new_tokens: correlation of normal scores between the number of a session's calls
            and its first prompt, or the session's part of its new tokens; below 0 where long sessions begin or grow
            with less.
        output_tokens: tokens of an answer.
        turn_probability: share of later calls that a person asks for.
        tool_wait_s, think_time_s: time before a call that answers a tool, or a person [s].
        context_limit_tokens: a prompt longer than this is compacted at the next call; drawn for each session.
        long_context_fraction: share of sessions without such a limit; sessions that begin above it have none either.
        compacted_tokens: prompt of the call after which the context was compacted.
        rewrite_probability: share of later calls whose prompt keeps its length but changes right behind the system
            prompt; only the part before can be reused.
        service_fixed_s, service_per_output_token_s: time of a call, linear in its output tokens [s], [s/token]; the
            time only places the calls of a session that is under way when an episode begins.
        sub_agents: none by default.
    """

    name: Name
    description: str = ""
    calls: QuantileSpec
    groups: dict[Annotated[int, Field(gt=0)], PositiveFloat] = Field(min_length=1)
    system_tokens: QuantileSpec
    first_prompt_tokens: QuantileSpec
    new_tokens: QuantileSpec
    opening_calls: NonNegativeInt = 0
    opening_new_tokens: QuantileSpec | None = None
    calls_to_first_prompt: Correlation = 0.0
    calls_to_new_tokens: Correlation = 0.0
    output_tokens: QuantileSpec
    turn_probability: UnitFraction
    tool_wait_s: QuantileSpec
    think_time_s: QuantileSpec
    context_limit_tokens: QuantileSpec
    long_context_fraction: UnitFraction
    compacted_tokens: QuantileSpec
    rewrite_probability: UnitFraction
    service_fixed_s: NonNegativeFloat
    service_per_output_token_s: NonNegativeFloat
    sub_agents: SubAgentSpec | None = None
    sources: tuple[str, ...]

    @model_validator(mode="after")
    def _an_opening_has_its_own_tokens(self) -> Self:
        if (self.opening_calls > 0) != (self.opening_new_tokens is not None):
            raise ValueError("opening_calls and opening_new_tokens go together; give both or neither")
        return self


def load_agent(name: str, search_paths: Sequence[PathLike] = ()) -> AgentSpec:
    """The agent of a catalogue name, which may stand in a folder of the user."""
    return AgentSpec.parse(load_entry("agent", name, search_paths), where=f"agent.{name}")
