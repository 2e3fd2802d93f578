"""The command as its user meets it: what is printed, what is written, and what a mistake is answered with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.command_line import check_refusal, tree
from tests.fitting.test_runs import VLLM
from tests.fitting.typed import Fit, typed_into
from tokenfleet.envs import FleetEnv, catalog
from tokenfleet.envs.layers.llm import Parallelism, load_profile
from tokenfleet.envs.scenario import load_scenario

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_hardware" / "runs.csv"
PAIR = "--model llama-3.1-8b --gpu h100-sxm --own-gpu my-h100 --out mine"
HEADER = "batch,prompt_tokens,output_tokens,median_itl_ms"
GOOD = f"{HEADER}\n8,500,400,8\n16,500,400,8.6\n32,500,400,9.9\n64,500,400,12.4\n"


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fit:
    """A function that runs the command in `tmp_path`, where `runs.csv` and the example lie."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs.csv").write_text(GOOD)
    (tmp_path / "example.csv").write_bytes(EXAMPLE.read_bytes())
    return typed_into(capsys)


def table(out: str) -> dict[str, list[float]]:
    """Comparison -> the percentages of its row: mean and worst of the start, the fit, and the runs left out."""
    rows = re.findall(r"^(decode step|mean iteration|TTFT|board power)\D* +\d+ +(.*%)$", out, re.MULTILINE)
    return {name: [float(number) for number in re.findall(r"[-+.\d]+(?=%)", cells)] for name, cells in rows}


def test_the_measured_h100_is_fitted_to_a_few_per_cent_from_a_roofline(fit: Fit) -> None:
    """Runs of ML.ENERGY; the mean error of the decode step is under 5 %, fitted and of runs left out."""
    done = fit(f"example.csv {PAIR} --start roofline")
    assert done.code == 0, done.errors
    start, _, fitted, worst, left_out, _ = table(done.out)["decode step"]
    assert fitted < 2.0 < start
    assert abs(worst) < 4.0
    assert left_out < 3.0
    assert table(done.out)["board power"][2] < 5.0


def test_a_fit_that_begins_at_a_roofline_comes_to_what_the_shipped_fit_says(fit: Fit, tmp_path: Path) -> None:
    """The shipped profile has kernels beside the same runs; its decode steps and those of this fit are within 5 %."""
    fit(f"example.csv {PAIR} --start roofline")
    mine = load_profile("llama-3.1-8b", "my-h100", 1, [tmp_path / "mine"])
    shipped = load_profile("llama-3.1-8b", "h100-sxm", 1)
    for batch, context in ((8.0, 600.0), (64.0, 600.0), (128.0, 600.0)):
        steps = [
            profile.host_s + profile.token_s[0] + (profile.decode_s + profile.context_s * context) * batch
            for profile in (mine, shipped)
        ]
        assert steps[0] == pytest.approx(steps[1], rel=0.05)


def test_the_entry_is_found_by_a_scenario_that_names_its_folder(fit: Fit, tmp_path: Path) -> None:
    done = fit(f"example.csv {PAIR}")
    assert done.out.splitlines()[-2:] == [
        "wrote mine/gpu/my-h100.yaml",
        "wrote mine/profile/llama-3.1-8b_my-h100_tp1.yaml",
    ]
    scenario = load_scenario("tiny", {"pools.lab-8b.gpu": "my-h100"}, [tmp_path / "mine"])
    profile = scenario.pools["lab-8b"].profile
    assert profile.origin == "measured"
    assert profile.host_s != load_profile("llama-3.1-8b", "h100-sxm", 1).host_s
    env = FleetEnv(scenario)
    env.reset(seed=0)
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


def test_the_entry_names_runs_and_command_as_sources_and_says_the_errors_of_the_fit(fit: Fit, tmp_path: Path) -> None:
    done = fit(f"example.csv {PAIR}")
    entry = yaml.safe_load((tmp_path / "mine/profile/llama-3.1-8b_my-h100_tp1.yaml").read_text())
    assert entry["origin"] == "measured"
    assert entry["sources"][0] == "host_s, decode_s, power_factor: fitted to 10 runs of example.csv"
    assert "kept from llama-3.1-8b_h100-sxm_tp1" in entry["sources"][1]
    assert f"command: python -m tokenfleet.envs.fitting example.csv {PAIR}" in entry["sources"]
    shown = table(done.out)["decode step"]
    assert 100 * entry["fit_errors"]["decode_step"] == pytest.approx(shown[2], abs=0.051)
    assert 100 * entry["fit_errors"]["decode_step_left_out"] == pytest.approx(shown[4], abs=0.051)


def test_results_of_vllm_and_a_power_log_are_fitted_together(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    log = ["timestamp, index, power.draw [W], clocks.current.sm [MHz]"]
    for minute, (clients, step_ms, watts) in enumerate(
        [(8, 8.0, 450), (16, 8.7, 500), (32, 10.1, 560), (64, 13.0, 600)]
    ):
        speed = {"median_itl_ms": step_ms, "mean_tpot_ms": 1.03 * step_ms, "output_throughput": 960 * clients / step_ms}
        result = {**VLLM, "date": f"20260301-12{minute + 1:02}00", "max_concurrency": clients, **speed}
        (tmp_path / "results" / f"{clients:02}.json").write_text(json.dumps(result))
        log += [f"2026/03/01 12:{minute:02}:{second:02}.000, 0, {watts}.00 W, 1980 MHz" for second in range(1, 60)]
    (tmp_path / "power.csv").write_text("\n".join(log) + "\n")
    done = fit(f"results --power-log power.csv {PAIR}")
    assert done.code == 0, done.errors
    assert table(done.out)["decode step"][2] < 2.0
    assert table(done.out)["board power"][2] < 7.0


def test_an_entry_is_overwritten_only_by_force(fit: Fit, tmp_path: Path) -> None:
    assert fit(f"example.csv {PAIR}").code == 0
    before = tree(tmp_path)
    check_refusal(
        fit(f"runs.csv {PAIR}"), [r"^--out: mine/profile/\S+ is already there; .* overwrite it with --force$"]
    )
    assert tree(tmp_path) == before
    assert fit(f"example.csv {PAIR} --force").code == 0
    assert tree(tmp_path).keys() == before.keys()
    assert fit(f"runs.csv {PAIR} --force").code == 0
    assert tree(tmp_path) != before


def test_a_second_model_is_fitted_on_the_same_boards(fit: Fit, tmp_path: Path) -> None:
    fit(f"example.csv {PAIR}")
    slow = GOOD.replace(",8\n", ",30\n").replace("8.6", "32").replace("9.9", "34").replace("12.4", "37")
    (tmp_path / "large.csv").write_text(slow)
    done = fit("large.csv --model llama-3.1-70b --gpu my-h100 --tensor-parallel 4 --out mine")
    assert done.code == 0, done.errors
    assert "starts from a roofline" in done.out
    assert load_profile("llama-3.1-70b", "my-h100", 4, [tmp_path / "mine"]).origin == "measured"


def test_a_mixture_whose_experts_are_shared_out_is_fitted_and_found_under_its_name(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "mixture.csv").write_text(GOOD.replace(",8\n", ",30\n").replace("8.6", "32").replace("9.9", "34"))
    shared = "--data-parallel 8 --expert-parallel 8"
    done = fit(f"mixture.csv --model qwen3-235b-a22b-fp8 --gpu h100-sxm --own-gpu my-h100 {shared} --out mine")
    assert done.code == 0, done.errors
    assert (tmp_path / "mine" / "profile" / "qwen3-235b-a22b-fp8_my-h100_tp1_dp8_ep8.yaml").exists()
    found = load_profile("qwen3-235b-a22b-fp8", "my-h100", Parallelism(1, 8, 8), [tmp_path / "mine"])
    assert found.origin == "measured"


def test_help_says_what_is_asked_for(fit: Fit) -> None:
    done = fit("--help")
    assert done.code == 0
    for option in ("--model", "--gpu", "--tensor-parallel", "--own-gpu", "--power-log", "--force"):
        assert option in done.out


MISTAKES = {
    f"none.csv {PAIR}": r"^none\.csv: no such file$",
    f"short.csv {PAIR}": r"^runs: at least 3 with a time between tokens, or .* are needed \(got 2\); measure more$",
    f"negative.csv {PAIR}": r"^negative\.csv:2: median_itl_ms: must be a number above 0 \(got '-8'\)$",
    f"fast.csv {PAIR}": (
        r"^fast\.csv:3: the median time between tokens of 2 ms is faster than physics allows for llama-3\.1-8b on "
        r"1 x h100-sxm in bf16, at least .* ms; likely another --gpu, --tensor-parallel or precision, or speculative"
    ),
    f"cached.csv {PAIR}": r"^cached\.csv:2: TTFT of 5 ms is faster .* or prompts that a prefix cache held$",
    f"crowded.csv {PAIR}": r"^crowded\.csv:2: 5000 sequences of 700 tokens need a KV cache of 3\.5e\+06 tokens, but",
    f"hot.csv {PAIR}": r"^hot\.csv:2: power of 5600 W is 5600 W a board; h100-sxm draws 74 to 700 W; ",
    f"cold.csv {PAIR}": r"^cold\.csv:2: power of 30 W is 30 W a board; h100-sxm draws 74 to 700 W",
    "runs.csv --model llama-3.1-8B --gpu h100-sxm": r"^model: unknown name 'llama-3\.1-8B'; did you mean 'llama-3",
    "runs.csv --model llama-3.1-8b --gpu h100": r"^gpu: unknown name 'h100'; did you mean 'h100-sxm'\?",
    "runs.csv --model llama-3.1-70b --gpu h100-sxm": r"^llama-3\.1-70b \(141\.1 GB of weights\) does not fit on 1 x ",
    "runs.csv --model llama-3.1-8b --gpu h100-sxm": (
        r"^--own-gpu: the shipped catalogue has llama-3\.1-8b_h100-sxm_tp1; .* as in --own-gpu my-h100-sxm$"
    ),
    "runs.csv --model llama-3.1-8b --gpu l40s --tensor-parallel 3": r"^tensor_parallel: must divide .* \(got 3\)",
    "runs.csv --model llama-3.1-8b --gpu l40s --data-parallel 2": r"^data_parallel: .* write replicas: 2 instead",
    "runs.csv --model llama-3.1-8b --gpu l40s --tensor-parallel 0": r"^tensor_parallel: .*greater than 0 \(got 0\)$",
    "runs.csv --model llama-3.1-8b --gpu l40s --token-budget 0": r"^token_budget: .*greater than 0 \(got 0\)$",
    "runs.csv --model llama-3.1-8b --gpu h100-sxm --own-gpu a/b": r"^own_gpu: .*pattern.* \(got 'a/b'\)$",
    "runs.csv --model llama-3.1-8b --gpu h100-sxm --own-gpu l40s": r"^--own-gpu: 'l40s' is a GPU of the shipped",
    f"runs.csv {PAIR} --catalog nowhere": r"^catalog\.search_paths: no such folder 'nowhere'$",
    f"runs.csv {PAIR} --boards 0": r"^--boards: there is no --power-log that it could choose from; leave it out$",
    f"runs.csv {PAIR} --power-log none.csv": r"^none\.csv: no such file$",
    "runs.csv --model llama-3.1-8b --gpu l40s --out runs.csv/mine": (
        r"^--out: cannot write runs\.csv/mine\S* \(Not a directory\); choose another folder$"
    ),
}
FILES = {
    "short.csv": f"{HEADER}\n8,500,400,8\n16,500,400,9\n",
    "negative.csv": f"{HEADER}\n8,500,400,-8\n",
    "fast.csv": f"{HEADER}\n8,500,400,8\n16,500,400,2\n32,500,400,9\n",
    "cached.csv": "batch,prompt_tokens,output_tokens,ttft_ms\n1,2000,100,5\n",
    "crowded.csv": f"{HEADER}\n5000,500,400,400\n",
    "hot.csv": f"{HEADER},power_w\n8,500,400,8,5600\n",
    "cold.csv": f"{HEADER},power_w\n8,500,400,8,30\n",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_answered_in_words_and_everything_stays_as_before(typed: str, fit: Fit, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    # On an L40S the weights alone take 18.6 ms.
    l40s = GOOD.replace(",8\n", ",30\n").replace("8.6", "32").replace("9.9", "34").replace("12.4", "37")
    (tmp_path / "runs.csv").write_text(l40s if "l40s" in typed and "--own-gpu" not in typed else GOOD)
    before = tree(tmp_path)
    check_refusal(fit(typed), [MISTAKES[typed]])
    assert tree(tmp_path) == before


@pytest.mark.parametrize("option", ["--tensor-parallel two", "--start guess", ""])
def test_what_argparse_finds_wrong_ends_with_its_usage(option: str, fit: Fit) -> None:
    done = fit(f"runs.csv --model llama-3.1-8b {option}")
    assert done.code == 2
    assert "usage: python -m tokenfleet.envs.fitting" in done.errors
    assert "Traceback" not in done.errors


def test_another_gpu_under_the_chosen_name_is_not_replaced(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "mine" / "gpu").mkdir(parents=True)
    gpu = yaml.safe_load(catalog.find("gpu", "l40s").read_text())
    (tmp_path / "mine" / "gpu" / "my-h100.yaml").write_text(yaml.safe_dump({**gpu, "name": "my-h100"}))
    before = tree(tmp_path)
    check_refusal(
        fit(f"runs.csv {PAIR}"), [r"^--own-gpu: mine/gpu/my-h100\.yaml is another GPU; name it with --gpu my-h100"]
    )
    assert tree(tmp_path) == before
