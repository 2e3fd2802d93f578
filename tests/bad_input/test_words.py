"""A mistyped key, value or command line: one line that names it and the way out; exit status 2; nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import Run, check_refusal, in_a_process_of_its_own

SCENARIOS = (
    r"\(choose from agent-swarm, .*, tiny, two-markets; for your own FOLDER/scenario/NAME\.yaml write --config-dir"
)
CASES: dict[str, tuple[str, ...]] = {
    # Keys.
    "evaluate shift=more-lod": (r"^shift: unknown choice 'more-lod'; did you mean 'more-load'\?",),
    "train sed=3": (r"^sed: unknown key; did you mean 'seed'\? \(choose from algo, ",),
    "evaluate episods=3": (r"^episods: unknown key; did you mean 'episodes'\?",),
    "train scenario=tiny scenario.horizont_ticks=30": (
        r"^scenario\.horizont_ticks: unknown key; did you mean 'horizon_ticks'\?",
    ),
    "train scenario=tiny scenario.pools.lab-8b.replica=3": (
        r"^scenario\.pools\.lab-8b\.replica: unknown key; did you mean 'replicas'\?",
    ),
    "train algo.gama=0.9": (r"^algo\.gama: unknown key; did you mean 'gamma'\?",),
    "train env.kwargs.rewardd=1": (r"^env\.kwargs\.rewardd: unknown key; did you mean 'reward'\?",),
    "train env.kwargs.engine=native": (r"^env\.kwargs\.engine: is set by the other keys; leave it out$",),
    # Choices.
    "train scenario=defualt": (
        r"^scenario: unknown choice 'defualt'; did you mean 'default'\? .*burst, campus, chat-city, default",
    ),
    "evaluate scenario=null": (rf"^scenario: 'null' is no name {SCENARIOS}",),
    "evaluate scenario=folder/mine.yaml": (rf"^scenario: 'folder/mine\.yaml' is no name {SCENARIOS}",),
    "train algo=pop": (r"^algo: unknown choice 'pop'; did you mean 'ppo'\? \(choose from a2c, ars, cma_es, custom, ",),
    "train -m algo=ppo,pop": (r"^algo: unknown choice 'pop'; did you mean 'ppo'\?",),
    "train env=flet": (r"^env: unknown choice 'flet'; did you mean 'fleet'\?",),
    # Values.
    "train n_envs=many": (r"^n_envs: .*valid integer.* \(got 'many'\)$",),
    "train n_envs=-4": (r"^n_envs: .*greater than 0 \(got -4\)$",),
    "train seed=99999999999": (r"^seed: .*less than 2147483648 \(got 99999999999\)$",),
    "train n_envs=many -m seed=0,1": (r"^n_envs: .*valid integer.* \(got 'many'\)$",),
    "train -m seed=abc,0": (r"^seed: .*valid integer.*\(got 'abc'\)$",),
    "train total_timesteps=1.5": (r"^total_timesteps: .*valid integer.* \(got 1\.5\)$",),
    "train device=tpu": (r"^device: must be cpu, cuda, cuda:<number> or auto \(got 'tpu'\)$",),
    "train catalog.search_paths=3": (r"^catalog\.search_paths\.0: .*valid string \(got 3\)$",),
    "evaluate episodes=0": (r"^episodes: .*greater than 0 \(got 0\)$",),
    "evaluate engine=nativ split=tset 'formats=[xlsx]'": (
        r"^engine: .*'native' or 'reference' \(got 'nativ'\)$",
        r"^split: .*'train', 'validation' or 'test' \(got 'tset'\)$",
        r"^formats\.0: .*'parquet' or 'csv' \(got 'xlsx'\)$",
    ),
    "train algo.policy_kwargs.net_arch=[8,8]": (r"^command line: .*net_arch=\[8,8\]; .*; set its keys one by one$",),
    "train scenario=tiny scenario.sites.lba.grid.cap_fraction=0.6": (
        r"^scenario\.sites\.lba: no pool stands at this site; pools stand at lab; add a pool or remove the site$",
    ),
    "train scenario=tiny scenario.pools.lab-8b.gpu=mine": (
        r"^scenario\.pools\.lab-8b\.gpu: unknown name 'mine' .*; one of your own, <folder>/gpu/mine\.yaml, is found by",
    ),
    "train scenario=tiny scenario.classes.chat-8b.max_attempts=40000": (
        r"^scenario\.classes\.chat-8b\.max_attempts: .*less than or equal to 32767 \(got 40000\)$",
    ),
    "train algo.gamma=2": (r"^algo\.gamma: .*less than or equal to 1 \(got 2\)$",),
    "train algo.learning_rate=fast": (r"^algo\.learning_rate\S*: .*valid number.*\(got 'fast'\)$",),
    "train algo.batch_size=10000": (
        r"^algo\.batch_size: must be at most the 8192 steps of a rollout, .* a smaller batch, or algo\.n_steps=157$",
    ),
    "train algo.rollout_steps=64": (
        r"^algo\.rollout_steps: unknown key; did you mean 'n_steps', as stable-baselines3 calls it\?$",
    ),
    "train algo.network.actor_layers=[8] algo.normalise.clip=1": (
        r"^algo\.network: unknown key; did you mean 'policy_kwargs', as",
        r"^algo\.normalise: unknown key; did you mean 'normalize', as",
    ),
    "train algo=dagger algo.teacher=operatr": (r"^algo\.teacher: unknown name 'operatr'; did you mean 'operator'\?",),
    "train policy.base=operatr": (r"^policy\.base: unknown name 'operatr'; did you mean 'operator'\?",),
    "train policy.base=mine.yaml": (r"^policy\.base: mine\.yaml: no such file$",),
    "train policy.base.name=operator policy.base.gain=2": (r"^policy\.base\.operator\.gain: unknown",),
    "train algo=dagger policy.base=operator": (r"^policy\.base: imitation .*; leave it out, and correct the trained",),
    "train algo.policy_kwargs.activation=relu": (
        r"^algo\.policy_kwargs\.activation: unknown key; did you mean 'activation_fn', as",
    ),
    # The grammar of a command line.
    "train 'seed=[1'": (r"^command line: 'seed=\[1'",),
    "train seed": (r"^command line: 'seed'",),
    "train seed=0,1": (r"^command line: Ambiguous value for argument 'seed=0,1'; .*--multirun",),
    "evaluate hydra.run.dri=results": (r"^command line: .*'hydra\.run\.dri'",),
    "train --config-name trian": (r"^command line: .*'trian'",),
    "train --config-dir nowhere": (r"^command line: .*nowhere' not found",),
    # Several at once.
    "train sed=3 n_envs=abc algo.gama=1 algo.gamma=2 scenario.pools.east-h100-8b.replicas=-1 env.kwarg=3": (
        r"^n_envs: .*valid integer.* \(got 'abc'\)$",
        r"^sed: unknown key; did you mean 'seed'\?",
        r"^algo\.gama: unknown key; did you mean 'gamma'\?",
        r"^algo\.gamma: .*less than or equal to 1 \(got 2\)$",
        r"^scenario\.pools\.east-h100-8b\.replicas: .*greater than 0 \(got -1\)$",
        r"^env\.kwarg: unknown key; did you mean 'kwargs'\?",
    ),
}


@pytest.mark.parametrize("typed", CASES)
def test_mistyped_words_are_refused_in_words_and_nothing_is_left_behind(typed: str, run: Run, tmp_path: Path) -> None:
    check_refusal(run(typed), CASES[typed])
    assert list(tmp_path.iterdir()) == []


def test_mistyped_words_are_refused_in_a_separate_process_too(tmp_path: Path) -> None:
    outcome = in_a_process_of_its_own("train n_envs=many", tmp_path)
    check_refusal(outcome, CASES["train n_envs=many"])
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []
