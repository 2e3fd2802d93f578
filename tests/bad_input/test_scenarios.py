"""A scenario that cannot be: hardware, caps, workloads, recordings, environments that are wrong or missing.

A recording of one's own reaches a scenario in three ways, and each is tried: `scenario.workload.<stream>.trace=path`
changes the file of a stream that replays one (those of the default scenario), `scenario.workload.<new>={kind: trace,
...}` adds a stream, and a scenario of a `--config-dir` names a file of its `trace/` folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.bad_input.contents import doubling
from tests.command_line import Run, check_refusal, tree
from tokenfleet.envs import catalog

COLUMNS = "arrival_s,prompt_tokens,output_tokens"
FILES = {
    "bad_line.csv": f"{COLUMNS}\n0,10,10\n1,ten,10\n",
    "no_answer.csv": f"{COLUMNS}\n0,10,10\n1,10,0\n",
    "unsorted.csv": f"{COLUMNS}\n0,10,10\n5,10,10\n3,10,10\n",
    "short.csv": f"{COLUMNS}\n0,10,10\n5,10,10\n25,10,10\n",
    "empty.csv": f"{COLUMNS}\n",
    "columns.csv": "time,in,out\n0,10,10\n",
    "table.xlsx": "0,10,10\n",
    "junk.npz": "junk",
    "half_written.py": "class Mine(\n",
    "plain.py": "class Plain:\n    pass\n",
    "walks.py": "import gymnasium\nclass Walk(gymnasium.Env):\n    pass\n",
}


def write_catalogue(mine: Path) -> None:
    """Scenarios with a mistake each, and the GPU and the trace that they name."""
    scenario = yaml.safe_load(catalog.find("scenario", "tiny").read_text())
    stream = {"kind": "trace", "request_class": "chat-8b", "trace": "my-trace"}
    pool = {**scenario["pools"]["lab-8b"], "gpu": "my-gpu"}
    gpu = yaml.safe_load(catalog.find("gpu", "h100-sxm").read_text())
    files = {
        "scenario/recorded.yaml": yaml.safe_dump({**scenario, "name": "recorded", "workload": {"recorded": stream}}),
        "scenario/upgraded.yaml": yaml.safe_dump({**scenario, "pools": {**scenario["pools"], "lab-8b": pool}}),
        "scenario/unclosed.yaml": "name: unclosed\nsites: {lab: [}\n",
        "scenario/listed.yaml": "- tiny\n",
        "scenario/merging.yaml": doubling("{{<<: [*a{0}, *a{0}]}}"),
        "scenario/growing.yaml": "".join(f"k{n}: ${{.k{n + 1}}}${{.k{n + 1}}}\n" for n in range(30)) + "k30: grow\n",
        "scenario/circling.yaml": "name: circling\ndescription: ${.description}\n",
        "scenario/ordering.yaml": "name: !!python/object/apply:os.mkdir [canary]\n",
        "gpu/my-gpu.yaml": yaml.safe_dump({**gpu, "name": "my-gpu", "tdp_w": -700}),
        "trace/my-trace.csv": FILES["bad_line.csv"],
    }
    for name, text in files.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the commands name; no command changes them."""
    tmp_path = tmp_path_factory.mktemp("folder")
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    write_catalogue(tmp_path / "mine")
    return tmp_path


def added(trace: str) -> str:
    """A stream that replays `trace`, added to a scenario."""
    return f"'scenario.workload.mine={{kind: trace, request_class: chat-8b, trace: {trace}}}'"


FLEETS: dict[str, tuple[str, ...]] = {
    "train scenario=tiny scenario.pools.lab-8b.gpu=h100-smx": (
        r"^scenario\.pools\.lab-8b\.gpu: unknown name 'h100-smx'; did you mean 'h100-sxm'\? \(choose from a100",
    ),
    "train scenario=tiny scenario.pools.lab-70b.model=llama-3.1-700b": (
        r"^scenario\.pools\.lab-70b\.model: unknown name 'llama-3\.1-700b'; .*llama-3\.1-70b",
        r"^scenario\.classes\.chat-70b\.model: no pool serves 'llama-3\.1-70b'",
    ),
    "train scenario=tiny scenario.pools.lab-8b=null": (
        r"^scenario\.pools\.lab-8b: must be a mapping of keys to values \(got None\)$",
    ),
    "train scenario=tiny scenario.pools.lab-8b.site=lba": (
        r"^scenario\.pools\.lab-8b\.site: unknown site 'lba'; did you mean 'lab'\?",
    ),
    "train scenario.tick_s=nan": (r"^scenario\.tick_s: .*finite number \(got nan\)$",),
    "evaluate scenario=tiny scenario.sites.lab.grid.cap_fraction=0": (
        r"^scenario\.sites\.lab\.grid\.cap_fraction: .*greater than 0 \(got 0\)$",
    ),
    "evaluate scenario=tiny scenario.sites.lab.grid.cap_fraction=null scenario.sites.lab.grid.cap_w=0": (
        r"^scenario\.sites\.lab\.grid\.cap_w: .*greater than 0 \(got 0\)$",
    ),
    "evaluate scenario=tiny scenario.sites.lab.grid.cap_w=5000": (
        r"^scenario\.sites\.lab\.grid: give exactly one of cap_fraction .* and cap_w .*null \(got cap_fraction=0\.7 "
        r"and cap_w=5000\.0\)$",
    ),
    "train scenario=tiny scenario.pools.lab-70b.tensor_parallel=1": (
        r"^scenario\.pools\.lab-70b\.tensor_parallel: llama-3\.1-70b \(141\.1 GB of weights\) does not fit on "
        r"1 x h100-sxm; it needs at least 2$",
    ),
    "train scenario=tiny scenario.pools.lab-70b.tensor_parallel=3": (
        r"^scenario\.pools\.lab-70b\.tensor_parallel: must divide .* 64 heads \(got 3\)$",
    ),
    "train scenario=tiny scenario.pools.lab-70b.data_parallel=2": (
        r"^scenario\.pools\.lab-70b\.data_parallel: llama-3\.1-70b is dense; write replicas: 2 instead \(got 2\)$",
    ),
    "train scenario=tiny scenario.pools.lab-8b.kv_tokens=100_000_000": (
        r"^scenario\.pools\.lab-8b\.kv_tokens: 100000000 tokens do not fit; at most \d+ do",
    ),
    "train scenario=tiny scenario.pools.lab-8b.max_batch=4096": (
        r"^scenario\.pools\.lab-8b: max_batch \(4096\) must not exceed token_budget \(2048\)",
    ),
    "evaluate --config-dir mine scenario=upgraded": (
        r"^scenario\.pools\.lab-8b\.gpu: gpu\.my-gpu\.tdp_w: .*greater than 0 \(got -700\)",
    ),
    "evaluate --config-dir mine scenario=unclosed": (r"^\S*mine/scenario/unclosed\.yaml:2: not valid YAML: ",),
    "evaluate --config-dir mine scenario=ordering": (r"^\S*mine/scenario/ordering\.yaml:1: not valid YAML: .* tag ",),
    "evaluate --config-dir mine scenario=merging": (r"^\S*merging\.yaml:\d+: .*more than 20000 keys and values",),
    "evaluate --config-dir mine scenario=growing": (
        r"^scenario\.k0: stands for more than 50000 values once its \$\{\.\.\.\} are replaced$",
    ),
    "evaluate --config-dir mine scenario=circling": (
        r"^scenario\.description: refers to itself \(.*\); write a value$",
    ),
    "train --config-dir mine scenario=listed": (
        r"^scenario: must be .*a mapping of keys to values \(got \['tiny'\]\)$",
    ),
    "evaluate scenario=tiny policies=random episodes=1e15": (
        r"^memory: not enough \(Unable to allocate .*\); lower n_envs, episodes, or the scenario's",
    ),
}

WORKLOADS: dict[str, tuple[str, ...]] = {
    "evaluate scenario.workload.chat-8b.trace=nowhere.csv": (
        r"^scenario\.workload\.chat-8b\.trace: \S*/nowhere\.csv: no such file$",
    ),
    "evaluate scenario.workload.chat-8b.trace=azure-chat-2024": (
        r"^scenario\.workload\.chat-8b\.trace: unknown name 'azure-chat-2024'; did you mean 'azure-chat-2023'\?",
    ),
    "evaluate scenario.workload.chat-8b.trace=bad_line.csv": (
        r"^scenario\.workload\.chat-8b\.trace: \S*/bad_line\.csv:3: prompt_tokens: not a number \(got 'ten'\); mend or",
    ),
    "evaluate scenario.workload.chat-8b.trace=junk.npz": (
        r"^scenario\.workload\.chat-8b\.trace: \S*/junk\.npz: not an archive of numbers .* write it with "
        r"numpy\.savez_compressed",
    ),
    f"train scenario=tiny {added('no_answer.csv')}": (
        r"^scenario\.workload\.mine\.trace: \S*/no_answer\.csv:3: output_tokens: .*1 to 100,000,000 \(got '0'\)$",
    ),
    "evaluate --config-dir mine scenario=recorded": (
        r"^scenario\.workload\.recorded\.trace: \S*mine/trace/my-trace\.csv:3: prompt_tokens: .*\(got 'ten'\); mend or",
    ),
    f"evaluate scenario=tiny {added('empty.csv')}": (
        r"^scenario\.workload\.mine\.trace: \S*/empty\.csv:1: the trace is empty: it has no request$",
    ),
    f"evaluate scenario=tiny {added('unsorted.csv')}": (
        r"^scenario\.workload\.mine\.trace: \S*/unsorted\.csv:4: times must not decrease \(this row is 2 s before the ",
    ),
    f"evaluate scenario=tiny {added('columns.csv')}": (
        r"^scenario\.workload\.mine\.trace: \S*/columns\.csv:1: unknown columns 'time,in,out'; expected TIMESTAMP,"
        r".* or arrival_s,prompt_tokens,output_tokens or .*, or name them with --column arrival=time .* of the import",
    ),
    f"evaluate scenario=tiny {added('./table.xlsx')}": (
        r"^scenario\.workload\.mine\.trace: \S*/table\.xlsx: not a trace file: its name must end in one of",
    ),
    f"evaluate scenario=tiny {added('short.csv')}": (
        r"^scenario\.workload\.mine: trace '\S*/short\.csv' is too short: its smallest split spans 5 s, an episode 60 s"
        r"; lower horizon_ticks",
    ),
    "train scenario=tiny scenario.workload.chat-8b.kind=poison": (
        r"^scenario\.workload\.chat-8b\.kind: unknown stream kind 'poison'; did you mean 'poisson'\?.* 'module:Class'$",
    ),
    "train scenario=tiny scenario.workload.chat-8b.kind=no_module:Stream": (
        r"^scenario\.workload\.chat-8b\.kind: cannot import 'no_module:Stream' .*; write 'module:Class' of a StreamS",
    ),
}

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "train algo=sac env.id=CartPole-v1": (
        r"^algo\.name: sac cannot choose actions from Discrete\(2\); choose ppo, a2c, recurrent_ppo, paired_ppo$",
    ),
    "train env.id=CartPol-v1": (r"^env\.id: .*`CartPol` doesn't exist.* Did you mean: `CartPole`",),
    "train env.id=tokenfleet/AgentSwarm-v0": (
        r"^env\.id: tokenfleet/AgentSwarm-v0 brings a scenario, .*; write scenario=agent-swarm$",
    ),
    "train env.id=CartPole-v7": (r"^env\.id: .*`v7` .* doesn't exist.*`v1`",),
    "train env.id=no_module:Mine-v0": (
        r"^env\.id: cannot import 'no_module' of 'no_module:Mine-v0' .*; start in the folder that holds it, or .*$",
    ),
    "train env.id=half_written:Mine": (
        r"^env\.id: cannot import 'half_written' .*\(half_written\.py, line 1\)\); start in the folder",
    ),
    "train env.id=plain:Plain": (r"^env\.id: 'plain:Plain' is neither a gymnasium\.Env nor a gymnasium\.vector",),
    "train env.id=walks:Wlk": (
        r"^env\.id: 'walks' has no class 'Wlk'; did you mean 'Walk'\? \(choose from Walk\); write",
    ),
    "train env.id=CartPole-v1 env.kwargs.foo=1": (r"^env\.kwargs\.foo: unknown key \(choose from render_mode, ",),
    "train scenario=tiny env.kwargs.reward=no_module:Reward": (
        r"^env\.kwargs\.reward=no_module:Reward: cannot import 'no_module:Reward' .*; write 'module:Class'$",
    ),
    "train scenario=tiny env.kwargs.observation=plain:Plain": (
        r"^env\.kwargs\.observation=plain:Plain: must take the scenario and need nothing else \(too many pos",
    ),
    "train scenario=tiny env.kwargs.reward_weights.energyusd=2": (
        r"^env\.kwargs\.reward_weights\.energyusd: unknown term; did you mean 'energy_usd'\?",
    ),
    "evaluate scenario=tiny 'env.kwargs.observation=[cap]'": (
        r"^env\.kwargs\.observation: unknown field 'cap'; did you mean 'cap_w'\?",
    ),
}

CASES = {**FLEETS, **WORKLOADS, **ENVIRONMENTS}


@pytest.mark.parametrize("typed", CASES)
def test_a_scenario_that_cannot_be_is_refused_in_words_and_nothing_is_left_behind(
    typed: str, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.chdir(folder)
    before = tree(folder)
    check_refusal(run(typed), CASES[typed])
    assert tree(folder) == before
