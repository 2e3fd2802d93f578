"""Claims of kernels: products of matrices as fitted, and on boards and in precisions that a fit never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from calibration.claims.comparison import Claim, Comparison
from calibration.excerpts import table
from calibration.fit.gpus import SAME_CHIP
from calibration.fit.time.products import fit_products, median_products, predicted_s, rows_of
from tokenfleet.envs.layers.gpu import ProductSpec, load_gpu

Pair = tuple[str, str]  # board, precision


def products_as_fitted() -> Comparison:
    """Products of matrices in bf16 and fp8 on six boards, as fitted: four or five numbers a board and precision."""
    return _compared(fit_products)


def products_of_a_board_left_out() -> Comparison:
    """The same from a board's data sheet and the medians of what the others reach, as rooflines of other boards are."""
    return _compared(lambda gpu, precision: median_products([pair for pair in _others(gpu) if pair[1] == precision]))


def fp8_from_bf16() -> Comparison:
    """Products in fp8 from the board's own in bf16, with what fp8 changes on the other boards."""
    return _compared(_from_bf16, only="fp8")


CLAIMS = (
    Claim("products of matrices, as fitted", products_as_fitted, 0.12),
    Claim("products of matrices, board left out", products_of_a_board_left_out),
    Claim("products of matrices, fp8 left out", fp8_from_bf16),
)


def _pairs() -> list[Pair]:
    rows = table("products")[["gpu", "precision"]].drop_duplicates()
    return [(str(gpu), str(precision)) for gpu, precision in rows.itertuples(index=False)]


def _others(gpu: str) -> list[Pair]:
    """What was timed on boards of other chips."""
    return [pair for pair in _pairs() if SAME_CHIP.get(pair[0], pair[0]) != SAME_CHIP.get(gpu, gpu)]


def _from_bf16(gpu: str, precision: str) -> ProductSpec:
    here = fit_products(gpu, "bf16")
    others = [name for name, other in _others(gpu) if other == precision]
    there = (
        median_products([(name, "bf16") for name in others]),
        median_products([(name, precision) for name in others]),
    )
    return ProductSpec(
        memory_efficiency=min(1.0, here.memory_efficiency * there[1].memory_efficiency / there[0].memory_efficiency),
        compute_efficiency=min(
            1.0, here.compute_efficiency * there[1].compute_efficiency / there[0].compute_efficiency
        ),
        launch_s=here.launch_s + there[1].launch_s - there[0].launch_s,
        join_power=there[1].join_power,
        quantise_bytes=there[1].quantise_bytes,
    )


def _compared(spec_of: Callable[[str, str], ProductSpec], only: str = "") -> Comparison:
    pairs: Sequence[Pair] = [pair for pair in _pairs() if only in pair[1]]
    measured, predicted, groups = [], [], []
    for gpu, precision in pairs:
        rows = rows_of(gpu, precision)
        measured.append(1e-6 * rows.time_us.to_numpy())
        predicted.append(predicted_s(spec_of(gpu, precision), load_gpu(gpu), precision, rows))
        groups += [f"{gpu} {precision}"] * len(rows)
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(groups))
