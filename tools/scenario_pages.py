"""Write docs/scenarios.md and its pictures: `python tools/scenario_pages.py docs`.

The descriptions come from the YAML of each scenario. Simple policies are measured on validation episodes, and the
picture shows one of these episodes under the policy that did best.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from PIL import Image

from tokenfleet.envs.catalog import catalog_names, find
from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation import Candidate, record_timeline
from tokenfleet.evaluation.figures import draw_timeline
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

POLICIES = (
    "max_clock",
    "least_work",
    "careful_operator",
    "feedback_capping",
    "greedy_efficiency",
    "operator",
    "supervisor",
)
WITH_VARIANTS = "brown_out"
"""Where pools have a variant, beside them."""
EPISODES = 8
COLOURS = 48  # of a picture, which is then a third of its size
COLUMNS = {
    "net_value_usd": "net value, USD",
    "slo_attainment": "SLO attainment",
    "ttft_mean_s": "mean TTFT, s",
    "above_cap_s": "s above a cap",
    "brakes": "brakes",
}
HEAD = f"""# Scenarios

Every scenario that ships is one YAML file in `envs/catalog/scenario/`; `scenario=<name>` runs it and
`scenario.<any field>=<value>` changes it. Train, validation and test episodes come from disjoint parts of the recorded
traces and weeks, and from random streams of their own. The figures are means over {EPISODES} validation episodes
(seeds 0 to {EPISODES - 1}); `python tools/scenario_pages.py docs` measures them again and writes this page.
"""


def main() -> None:
    """Write the page and every picture."""
    docs = typed_path(__doc__, "the folder of the page and its pictures")
    pictures = docs / "images" / "scenarios"
    pictures.mkdir(parents=True, exist_ok=True)
    names = sorted(catalog_names("scenario"), key=lambda name: (name not in ("default", "burst", "tiny"), name))
    sections = [section(name, pictures) for name in names]
    (docs / "scenarios.md").write_text("\n".join([HEAD, *sections]), encoding="utf-8")


def section(name: str, pictures: Path) -> str:
    """One scenario: words, parts, figures, picture."""
    scenario = load_scenario(name)
    shown = (*POLICIES, WITH_VARIANTS) if scenario.variants else POLICIES
    figures = {policy: measure(scenario, policy) for policy in shown}
    best = max(figures, key=lambda policy: figures[policy]["net_value_usd"])
    draw(scenario, best, pictures / f"{name}.png")
    header = ["policy", *COLUMNS.values()]
    rows = [[policy, *(f"{values[key]:.3g}" for key in COLUMNS)] for policy, values in figures.items()]
    table = markdown_table(header, rows)
    picture = f"![{name}: one validation episode under {best}](images/scenarios/{name}.png)"
    return "\n\n".join([f"## {name}", words(name), parts(scenario), card(name), table, picture]) + "\n"


def card(name: str) -> str:
    """What the screen found about a scenario, criterion by criterion; see docs/screen.md."""
    protocol = load_protocol()
    reference = protocol.references.get(name)
    if reference is None:
        return f"*No benchmark yet*: `{protocol.name}` has no reference of it."
    kind = f"Benchmark of `{protocol.name}`" if reference.is_benchmark else "Demonstration"
    rows = [
        f"| {criterion} | {'pass' if verdict.passed else 'fail'} | {verdict.measured} |"
        for criterion, verdict in reference.criteria.items()
    ]
    return "\n".join(
        [f"*{kind}*: [the screen](screen.md) says", "", "| criterion | | measured |", "|---|---|---|", *rows]
    )


def words(name: str) -> str:
    """The comment at the head of the YAML, as text."""
    lines = find("scenario", name).read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines[: next(i for i, x in enumerate(lines) if x[:1] != "#")]]
    return "\n".join(comment)


def parts(scenario: Scenario) -> str:
    """Sites, pools and demand in one line each."""
    caps = ", ".join(f"{site} {scenario.contract_w(site) / 1e3:.1f} kW" for site in scenario.sites)
    pools = ", ".join(
        f"{pool.replicas} x {pool.model} on {pool.parallelism.boards} {pool.gpu} ({pool.site})"
        for pool in scenario.pools.values()
    )
    demand = ", ".join(f"{name} {scenario.mean_rate_rps(name):.3g}/s" for name in scenario.classes)
    return f"Caps: {caps}. Pools: {pools}. Demand: {demand}. {scenario.horizon_ticks} ticks of {scenario.tick_s:g} s."


def measure(scenario: Scenario, name: str) -> dict[str, float]:
    """Means over the validation episodes; an episode that ends in the dark counts until then."""
    env = make_env(scenario, EPISODES, AutoresetMode.SAME_STEP)
    policy: Any = make_policy(name, PolicyContext.from_env(env))
    observation, _ = env.reset(seed=0)
    state, starts = None, np.ones(EPISODES, np.bool_)
    ended: dict[str, list[float]] = {key: [] for key in COLUMNS}
    running = np.ones(EPISODES, np.bool_)
    while running.any():
        action, state = policy.predict(observation, state, starts, True)
        observation, _, terminated, truncated, info = env.step(action)
        starts = terminated | truncated
        for index in np.flatnonzero(starts & running):
            for key in COLUMNS:
                ended[key].append(float(info["episode_metrics"][key][index]))
        running &= ~starts
    return {key: float(np.mean(values)) for key, values in ended.items()}


def make_env(scenario: Scenario, num_envs: int, mode: AutoresetMode = AutoresetMode.DISABLED) -> FleetVectorEnv:
    """Validation episodes; by default one each, whose last tick can then still be seen."""
    return FleetVectorEnv(scenario, num_envs, split="validation", autoreset_mode=mode)


def draw(scenario: Scenario, policy: str, path: Path) -> None:
    """One validation episode."""
    context = PolicyContext.from_env(make_env(scenario, 1))
    candidate = Candidate(make_policy(policy, context), policy)
    draw_timeline([record_timeline(partial(make_env, scenario), candidate, seed=0)], path)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
