"""How far two arrays are apart: absolute, and in units of the last place at the largest element of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf, ldexp
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Difference:
    """``largest`` is the largest absolute difference, ``relative`` that over the largest element of the reference,
    ``ulps`` that in units of the dtype's last place there. Integers and unlike NaNs are infinitely far apart.

    ``first`` is the index of the first element that differs, with both numbers; empty when none does.
    """

    largest: float = 0.0
    relative: float = 0.0
    ulps: float = 0.0
    first: str = ""


def difference(got: Array, want: Array, seen: Array | None = None) -> Difference:
    """Of two arrays of one shape and dtype; where ``seen`` is false, nothing is compared."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return Difference(inf, inf, inf, f": {got.dtype}{list(got.shape)}, was {want.dtype}{list(want.shape)}")
    a, b = (x if x.dtype.kind in "iub" else x.astype(np.float64) for x in (got, want))
    compared = np.ones((), np.bool_) if seen is None else seen.reshape(seen.shape + (1,) * (a.ndim - seen.ndim))
    unlike = (~((a == b) | (np.isnan(a) & np.isnan(b))) if a.dtype.kind == "f" else a != b) & compared
    if not unlike.any():
        return Difference()
    at = tuple(int(i) for i in np.argwhere(unlike)[0])
    first = f"[{', '.join(map(str, at))}]: {a[at]:.6g}, was {b[at]:.6g}" if at else f": {a[at]:.6g}, was {b[at]:.6g}"
    if a.dtype.kind != "f" or not np.isfinite(a[unlike]).all() or not np.isfinite(b[unlike]).all():
        return Difference(inf, inf, inf, first)
    largest = float(np.abs(a - b)[unlike].max())
    peak = float(np.abs(b[np.isfinite(b) & compared]).max(initial=0.0))
    return Difference(largest, largest / peak if peak else inf, largest / _ulp(peak, want.dtype), first)


def _ulp(peak: float, dtype: np.dtype[Any]) -> float:
    """The distance between numbers of a dtype at ``peak``."""
    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return max(float(info.eps) * ldexp(1.0, frexp(peak)[1] - 1), float(info.smallest_subnormal))
