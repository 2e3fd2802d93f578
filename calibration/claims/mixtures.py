"""Claims of mixtures of experts: fused kernels, and the decode step that a user without a measured profile gets."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.time import latent_attention
from calibration.fit.time.experts import fit_kernel, kernels, predicted_s
from calibration.fit.time.mixtures import left_out
from tokenfleet.envs.layers.llm.experts import ExpertFormat

FORMATS: tuple[ExpertFormat, ...] = ("bf16", "fp8", "unpacked")  # packed ones were timed on one board alone
DECODE_TOKENS = 256
LATENT_BOARDS = ("h100-sxm", "h200-sxm")  # of one generation; nothing else is known of the B200's


def kernels_of_a_board_left_out(decode: bool) -> Comparison:
    """Fused experts of a layer on a board by the kernels of all other boards."""
    frames = []
    for kind in FORMATS:
        rows = kernels()
        rows = rows[(rows.kind == kind) & ((rows.tokens <= DECODE_TOKENS) == decode)]
        for gpu, group in rows.groupby("gpu"):
            frames.append(group.assign(predicted=predicted_s(fit_kernel(kind, without_gpu=str(gpu)), group)))
    return _compare(pd.concat(frames), "gpu")


def kernels_of_a_shape_left_out() -> Comparison:
    """Fused experts of a layer by the kernels of all other widths and numbers of experts."""
    frames = []
    for kind in (*FORMATS, "packed"):
        rows = kernels()
        rows = rows[rows.kind == kind]
        for shape in rows["shape"].unique():
            group = rows[rows["shape"] == shape]
            frames.append(group.assign(predicted=predicted_s(fit_kernel(kind, without_shape=shape), group)))
    return _compare(pd.concat(frames), "kind")


def latent_attention_of_a_board_left_out() -> Comparison:
    """The same on H100 and H200 by the modules of all other boards."""
    rows = latent_attention.modules()
    frames = []
    for gpu in LATENT_BOARDS:
        group = rows[rows.gpu == gpu]
        frames.append(group.assign(predicted=latent_attention.fit_latent(gpu).predicted_s(group)))
    return _compare(pd.concat(frames), "gpu")


def latent_attention_of_known_boards() -> Comparison:
    """Multi-head latent attention of a layer with its products on H100, H200 and B200, all of which took part."""
    rows = latent_attention.modules()
    return _compare(rows.assign(predicted=latent_attention.fit_latent().predicted_s(rows)), "gpu")


def steps_left_out(kind: str) -> Comparison:
    """Decode steps of mixtures by the roofline, its three costs a layer and the skew of routing from all others."""
    rows = left_out()
    rows = rows[rows.kind == kind]
    return Comparison(rows.time_s.to_numpy(), rows.predicted.to_numpy(), tuple(rows.family))


CLAIMS = (
    Claim(
        "fused experts, board left out, decode", partial(kernels_of_a_board_left_out, decode=True), 0.15,
        judged_by="kernels of a layer of up to 256 tokens by those of all other boards: A100, H100, H200, B200, L40S, "
        "RTX PRO 6000; in bf16, fp8 and MXFP4",
    ),
    Claim(
        "fused experts, board left out, prompts", partial(kernels_of_a_board_left_out, decode=False), 0.25,
        judged_by="the same of 1024 to 16384 tokens",
    ),
    Claim("fused experts, shape left out", kernels_of_a_shape_left_out, 0.18),
    Claim("latent attention, modules", latent_attention_of_known_boards, 0.15),
    Claim("latent attention, board left out", latent_attention_of_a_board_left_out, 0.20),
    Claim(
        "decode step, mixture in bf16 left out", partial(steps_left_out, "bf16"), 0.10,
        judged_by="vLLM's runs on H100 and B200 by the roofline that a user gets, its three costs a layer and the "
        "skew of routing from all other families, which choose 0.6 or 0.8; 0.6 is shipped, by all",
    ),
    Claim(
        "decode step, mixture in fp8 left out", partial(steps_left_out, "fp8"), 0.12,
        judged_by="the same of a 235B on four H100, what fp8 adds from its runs on eight, and on eight from four",
    ),
    Claim(
        "decode step, mixture in MXFP4 left out", partial(steps_left_out, "mxfp4"), 0.12,
        judged_by="the same on H100; the worst is predicted as 43 ms, of which the mean is 43 and the median 36",
    ),
)  # fmt: skip


def _compare(rows: pd.DataFrame, group: str) -> Comparison:
    return Comparison(rows.latency_us.to_numpy() / 1e6, np.asarray(rows.predicted), tuple(rows[group]))
