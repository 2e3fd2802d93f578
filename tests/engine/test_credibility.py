"""The catalogue's fleets behave like the machines they describe."""

import numpy as np
import pytest

from tests.engine.runs import Run, run
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario

MLPERF_LLAMA2_70B_TTFT_S = 2.0  # p99, Server scenario; calibration/data and MLPerf Inference v5
MLPERF_LLAMA2_70B_TPOT_S = 0.2
POOLS_70B = [("h100-sxm", 4), ("b200-sxm", 2)]


def azure_chat_on(gpu: str, tensor_parallel: int, rate_rps: float) -> tuple[Run, np.ndarray, np.ndarray]:
    """Run, TTFT [s] and TPOT [s] of completed requests on one replica of the 70B model."""
    scenario = load_scenario(
        {
            "name": "one-replica",
            "horizon_ticks": 600,
            "sites": {"lab": {"grid": {"cap_fraction": 2.0}}},
            "pools": {
                "lab-70b": {"site": "lab", "gpu": gpu, "model": "llama-3.1-70b", "tensor_parallel": tensor_parallel}
            },
            "classes": {
                "chat": {
                    "model": "llama-3.1-70b",
                    "usd_per_million_input_tokens": 0.4,
                    "usd_per_million_output_tokens": 0.4,
                }
            },
            "workload": {
                "chat": {"kind": "trace", "request_class": "chat", "trace": "azure-chat-2023", "rate_rps": rate_rps}
            },
        }
    )
    arrays, episode = FleetArrays.from_scenario(scenario), sample_episode(scenario, 0, "test")
    result = run("native", arrays, episode)
    done = (result.log.status == 1) & (episode.requests.output_tokens > 1)
    ttft_s = (result.log.first_token_s - episode.requests.arrival_s)[done]
    tpot_s = (result.log.finished_s - result.log.first_token_s)[done] / (episode.requests.output_tokens[done] - 1)
    return result, ttft_s, tpot_s


@pytest.mark.parametrize(("gpu", "tensor_parallel"), POOLS_70B)
def test_lightly_loaded_70b_meets_the_mlperf_limits(gpu, tensor_parallel):
    _, ttft_s, tpot_s = azure_chat_on(gpu, tensor_parallel, rate_rps=1.0)
    assert np.quantile(ttft_s, 0.99) < MLPERF_LLAMA2_70B_TTFT_S
    assert np.quantile(tpot_s, 0.99) < MLPERF_LLAMA2_70B_TPOT_S


@pytest.mark.parametrize(("gpu", "tensor_parallel"), POOLS_70B)
def test_latencies_of_the_70b_are_of_a_credible_order(gpu, tensor_parallel):
    """TTFT at least one prefill iteration (tens of ms), TPOT at least one weight read (about 10 ms)."""
    _, ttft_s, tpot_s = azure_chat_on(gpu, tensor_parallel, rate_rps=1.0)
    assert 0.03 < np.median(ttft_s) < 0.5
    assert 0.01 < np.median(tpot_s) < 0.05


def test_load_raises_latency_and_saves_energy_per_token():
    """Batching: a busier replica answers more slowly and spends fewer joules on a token."""
    quiet, quiet_ttft_s, quiet_tpot_s = azure_chat_on("h100-sxm", 4, rate_rps=0.5)
    busy, busy_ttft_s, busy_tpot_s = azure_chat_on("h100-sxm", 4, rate_rps=4.0)
    assert busy_ttft_s.mean() > quiet_ttft_s.mean()
    assert busy_tpot_s.mean() > quiet_tpot_s.mean()
    tokens_per_joule = [r.total("generated_tokens") / r.total("energy_j") for r in (quiet, busy)]
    assert tokens_per_joule[1] > 2.0 * tokens_per_joule[0]


@pytest.mark.parametrize(("gpu", "tensor_parallel"), POOLS_70B)
def test_board_power_lies_between_idle_and_the_rating(gpu, tensor_parallel):
    result, _, _ = azure_chat_on(gpu, tensor_parallel, rate_rps=3.0)
    site = load_scenario("default").pools["east-h100-70b" if gpu == "h100-sxm" else "west-b200-70b"].gpu_spec
    board_w = result.outcomes["it_energy_j"][:, 0] / tensor_parallel - 250.0
    assert np.all(board_w >= site.idle_w * (1 - 1e-9))
    assert np.all(board_w <= site.tdp_w)
