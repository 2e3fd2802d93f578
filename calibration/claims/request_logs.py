"""What the command for one's own hardware makes of a log of requests: half of it judges a fit to the other half."""

from __future__ import annotations

from functools import cache

import numpy as np

from calibration.claims.comparison import Claim, Comparison
from calibration.claims.whole_runs import VLLM, VLLM_SERVERS
from calibration.excerpts import table
from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.request_fit import RequestFit, fit_requests
from tokenfleet.envs.fitting.request_log import ServedRequests
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import load_model, roofline_profile

TOKEN_BUDGET = 2048


def held_out_half() -> Comparison:
    """A roofline fitted to the first half of 300 requests on each of two real vLLM servers, judged by the second."""
    found = [(gpu, judged) for gpu in VLLM_SERVERS for judged in _fit(gpu).held_out]
    measured = np.array([judged.measured for _, judged in found])
    predicted = measured * (1.0 + np.array([judged.fitted for _, judged in found]))
    return Comparison(measured, predicted, tuple(f"{gpu}, {judged.title}" for gpu, judged in found))


CLAIMS = (Claim("profile from a log of requests, half held out", held_out_half, 0.1),)


@cache
def _fit(gpu: str) -> RequestFit:
    rows = table("vllm_requests").query("gpu == @gpu").sort_values("arrival_s")
    arrival_s = rows.arrival_s.to_numpy()
    log = ServedRequests(
        place=gpu,
        arrival_s=arrival_s,
        prompt_tokens=rows.prompt_tokens.to_numpy(),
        output_tokens=rows.output_tokens.to_numpy(),
        ttft_s=rows.first_token_s.to_numpy() - arrival_s,
        e2e_s=rows.last_token_s.to_numpy() - arrival_s,
    )
    board, model = load_gpu(gpu), load_model(str(VLLM["model"]))
    pool = {**VLLM, "gpu": gpu, **VLLM_SERVERS[gpu]}
    return fit_requests(
        Bench(board, model, 1, TOKEN_BUDGET),
        roofline_profile(board, model, 1, load_interconnect(board.interconnect)),
        log,
        pool,
    )
