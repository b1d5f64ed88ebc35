"""What a model's error is made of: an offset of each tower, a slope, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.scenarios import Part

Float64 = NDArray[np.float64]

PARTS: Final = ("offset", "slope", "rest")
WEIGHTINGS: Final = ("row", "site")


@dataclass(frozen=True, eq=False)
class ErrorParts:
    """The mean squared error of each tower and of all, in parts that add up.

    Attributes
    ----------
    sites : polars.DataFrame
        One row per tower: site_id, n, mse, offset, slope, rest (the parts of ``mse``, squared unit of the target),
        mean_error (mean of y_pred - y_true), fitted_slope (of y_true on y_pred; null where the predictions do not
        vary), note.
    overall : polars.DataFrame
        Two rows, ``weights`` row (every row alike) and site (every tower alike): mse, offset, slope, rest, the shares
        of mse ``offset_share``, ``slope_share``, ``rest_share``; of ``offset`` the part ``common`` to all towers
        (squared mean of mean_error) and the variance ``between`` towers, with ``common_share``, ``between_share`` and
        ``within_share`` (slope and rest); n, n_sites. Shares are null where mse is 0.
    n, missing : int
        Rows used, and rows left out because y_true is missing.
    """

    part: str
    target: str
    sites: pl.DataFrame
    overall: pl.DataFrame
    n: int
    missing: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        made: dict[str, Any] = {"part": self.part, "target": self.target, "n": self.n, "missing": self.missing}
        made["overall"] = {row.pop("weights"): row for row in self.overall.to_dicts()}
        made["sites"] = self.sites.to_dicts()
        return made


def decompose(part: Part, y_pred: ArrayLike) -> ErrorParts:
    """Split the mean squared error into an offset per tower, a slope per tower, and the rest.

    Within a tower, with error ``e = y_pred - y_true``, ``b`` the slope and ``r`` the correlation of the regression of
    ``y_true`` on ``y_pred``::

        mean(e^2) = mean(e)^2 + (1 - b)^2 var(y_pred) + (1 - r^2) var(y_true)
                    offset      slope                   rest

    This holds exactly (variances divide by n). ``offset`` goes away when each tower's mean is set right, ``slope`` when
    its response to the prediction is; ``rest`` no linear change of the predictions takes away. Where the predictions of
    a tower do not vary there is no slope: ``slope`` is 0 and ``rest`` the variance of ``y_true``.

    Over towers, ``offset = common + between``: the squared weighted mean of the towers' mean errors, and their
    variance.

    Parameters
    ----------
    part : Part
    y_pred : array-like, shape (n,)
        Predictions for its rows, unit of the target.

    Returns
    -------
    ErrorParts

    Raises
    ------
    DataError
        If the shape is wrong, a prediction for a row with a target is not finite, or no row has a target.

    References
    ----------
    The parts are those of Mincer and Zarnowitz (1969, The evaluation of economic forecasts, NBER) per tower; compare
    Kobayashi and Salam (2000, doi:10.2134/agronj2000.922345x) and Gupta et al. (2009,
    doi:10.1016/j.jhydrol.2009.08.003).
    """
    pred = np.asarray(y_pred, dtype=np.float64)
    if pred.shape != part.y.shape:
        raise DataError(
            f"The predictions have shape {pred.shape}; the {part.name} part has {len(part):,} rows. "
            "Give one prediction per row of X."
        )
    there = np.isfinite(part.y)
    if not there.any():
        raise DataError(f"Not one of the {len(part):,} rows of the {part.name} part has a value of {part.target}.")
    bad = there & ~np.isfinite(pred)
    if bad.any():
        where = sorted({part.sites[code] for code in np.unique(part.site_codes[bad]).tolist()})
        raise DataError(
            f"{int(bad.sum()):,} of {len(pred):,} predictions are not finite, at {examples(where)}. An error cannot be "
            "split with them: mend the model, or leave these rows out of the part with take()."
        )
    sites = _sites(part, pred, there)
    overall = pl.DataFrame([_overall(sites, weights) for weights in WEIGHTINGS], infer_schema_length=None)
    return ErrorParts(part.name, part.target, sites, overall, int(there.sum()), int((~there).sum()))


def compare_parts(train: ErrorParts, test: ErrorParts) -> pl.DataFrame:
    """Two splittings side by side: weights, part (mse, offset, slope, rest, common, between), train, test, ratio.

    ``ratio`` is test over train, null where train is 0. For predictions on train rows give those of a model that has
    not seen these towers (cross-validated by tower); a model's own training rows look better than they are.
    """
    names = ("mse", *PARTS, "common", "between")
    rows = []
    for weights in WEIGHTINGS:
        one, other = (made.overall.row(by_predicate=pl.col("weights") == weights, named=True) for made in (train, test))
        rows += [
            {
                "weights": weights,
                "part": name,
                "train": one[name],
                "test": other[name],
                "ratio": other[name] / one[name] if one[name] > 0 else None,
            }
            for name in names
        ]
    return pl.DataFrame(rows, schema_overrides={"ratio": pl.Float64})


def _sites(part: Part, pred: Float64, there: NDArray[np.bool_]) -> pl.DataFrame:
    """Moments about each tower's means, in two passes, so that large means do not swallow small variances."""
    code, size = part.site_codes[there], len(part.sites)
    y, p = part.y[there].astype(np.float64), pred[there]
    n = np.bincount(code, minlength=size)
    here = np.flatnonzero(n)
    count = np.maximum(n, 1)

    def mean(values: Float64) -> Float64:
        return np.asarray(np.bincount(code, values, minlength=size) / count)

    mean_error = mean(p - y)
    dp, dy = p - mean(p)[code], y - mean(y)[code]
    var_p, var_y, cov = mean(dp * dp), mean(dy * dy), mean(dp * dy)
    # Rounding of a constant, such as 0.1 in 32 bits, is no variation.
    varies = var_p > (1e-7 * np.maximum(np.abs(mean(p)), np.finfo(np.float64).tiny)) ** 2
    safe = np.where(varies, var_p, 1.0)
    slope = np.where(varies, cov / safe, 0.0)
    slope_part = np.where(varies, (1 - slope) ** 2 * var_p, 0.0)
    rest = np.maximum(var_y - np.where(varies, cov * cov / safe, 0.0), 0.0)
    frame = pl.DataFrame(
        {
            "site_id": list(part.sites),
            "n": n,
            "mse": mean_error**2 + slope_part + rest,
            "offset": mean_error**2,
            "slope": slope_part,
            "rest": rest,
            "mean_error": mean_error,
            "fitted_slope": slope,
            "varies": varies,
        }
    )
    constant = "the predictions do not vary: no slope, its part is 0"
    return (
        frame[here.tolist()]
        .with_columns(
            fitted_slope=pl.when(pl.col("varies")).then(pl.col("fitted_slope")),
            note=pl.when(~pl.col("varies")).then(pl.lit(constant)),
        )
        .drop("varies")
    )


def _overall(sites: pl.DataFrame, weights: str) -> dict[str, Any]:
    n = sites["n"].to_numpy().astype(np.float64)
    weight = n / n.sum() if weights == "row" else np.full(len(n), 1 / len(n))
    parts = {name: float(weight @ sites[name].to_numpy()) for name in ("mse", *PARTS)}
    error = sites["mean_error"].to_numpy()
    common = float(weight @ error) ** 2
    parts |= {"common": common, "between": float(weight @ (error - weight @ error) ** 2)}
    whole = parts["mse"]
    shares = {f"{name}_share": parts[name] / whole if whole > 0 else None for name in (*PARTS, "common", "between")} | {
        "within_share": (parts["slope"] + parts["rest"]) / whole if whole > 0 else None
    }
    return {"weights": weights, **parts, **shares, "n": int(n.sum()), "n_sites": len(n)}
