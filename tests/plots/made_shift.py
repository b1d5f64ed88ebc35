"""Made-up tables of shift: seeded, with the columns of the real ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl

COVARIATES = {
    "TA": (12.0, 8.0, 1.1),
    "VPD": (6.0, 4.0, 0.6),
    "SW_IN": (180.0, 120.0, 0.2),
    "SW_IN_POT_daily_mean": (300.0, 90.0, 0.1),
    "dSW_IN_POT_DAY": (0.0, 5.0, 0.0),
    "NDWI_SWIR2": (0.1, 0.2, -0.4),
}
"""Mean and standard deviation of train, and shift of test in standard deviations."""
CLASSES = ("ENF", "DBF", "GRA", "CRO", "WET", "OSH", "SAV")
NO_TOWERS = "only 3 towers are left on the test side inside common support; at least 6 are needed"
NO_REPEAT = "10 of 10 repeats gave no value; for example 0.4 % of the test rows lie in common support"


def make_histograms(bins: int = 24) -> pl.DataFrame:
    """Normal densities, and the shares of the plant functional types."""
    parts = []
    for name, (mean, sd, moved) in COVARIATES.items():
        edges = np.linspace(mean - 3 * sd, mean + 4 * sd, bins + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        train, test = (np.exp(-0.5 * ((middle - mean - m * sd) / sd) ** 2) / sd / 2.507 for m in (0.0, moved))
        parts.append(
            pl.DataFrame(
                {"covariate": name, "label": None, "low": edges[:-1], "high": edges[1:], "train": train, "test": test},
                schema_overrides={"label": pl.String},
            )
        )
    shares = np.linspace(3, 1, len(CLASSES))
    place = np.arange(len(CLASSES), dtype=np.float64)
    parts.append(
        pl.DataFrame(
            {
                "covariate": "PFT",
                "label": list(CLASSES),
                "low": place - 0.5,
                "high": place + 0.5,
                "train": shares / shares.sum(),
                "test": shares[::-1] / shares.sum(),
            }
        )
    )
    return pl.concat(parts)


def make_univariate() -> pl.DataFrame:
    """One row per covariate; the plant functional type has no mean."""
    rows: list[dict[str, Any]] = [
        {
            "covariate": name,
            "unit": "1",
            "train_mean": mean,
            "test_mean": mean + moved * sd,
            "train_sd": sd,
            "test_sd": sd,
            "smd": moved,
            "ks": abs(moved) * 0.38,
            "wasserstein": abs(moved) * sd,
            "outside": 0.02 + 0.1 * abs(moved),
            "total_variation": None,
            "note": None,
        }
        for name, (mean, sd, moved) in COVARIATES.items()
    ]
    rows.append({"covariate": "PFT", "outside": 0.0, "total_variation": 0.21, "note": "classes: total variation"})
    return pl.DataFrame(rows, infer_schema_length=None)


def make_importance() -> pl.DataFrame:
    """Air temperature first, and one name that no schema knows."""
    rows = [("TA", 0.182, 0.031), ("PFT", 0.064, 0.02), ("VPD", 0.041, 0.012), ("SW_IN_POT_daily_mean", 0.02, 0.009)]
    rows += [("a_rather_long_name_of_a_covariate_of_ones_own", 0.011, 0.004), ("dSW_IN_POT_DAY", -0.002, 0.003)]
    return pl.DataFrame(
        [(*row, 10, None) for row in rows],
        schema={
            "covariate": pl.String,
            "auc_drop": pl.Float64,
            "sd": pl.Float64,
            "repeats": pl.Int64,
            "reason": pl.String,
        },
        orient="row",
    )


def make_calibration() -> pl.DataFrame:
    """Good by row, too sure by site."""
    middle = np.linspace(0.05, 0.95, 10)
    count = np.array([9000, 4000, 2200, 1500, 1200, 1100, 1000, 1200, 1800, 3000])
    frames = [
        pl.DataFrame(
            {"split": split, "bin": np.arange(10), "predicted": middle, "observed": observed, "n": count // share}
        )
        for split, observed, share in (("row", middle, 1), ("site", 0.25 + 0.5 * middle, 2))
    ]
    return pl.concat(frames)


def make_distances() -> pl.DataFrame:
    """Three measures; the last without a p-value."""
    return pl.DataFrame(
        [
            ("energy", 0.41, 0.08, 0.001, "tower", "unit: tower; 20 train and 12 test towers exchange their labels"),
            ("sliced_wasserstein", 0.38, 0.09, 0.002, "tower", "unit: tower"),
            ("mmd", 0.2, None, None, "tower", "no p-value: one side has 3 units"),
        ],
        schema=["measure", "value", "exchanged", "p_value", "unit", "note"],
        orient="row",
    )


def make_conditional(*, unestimable: bool = True) -> pl.DataFrame:
    """By row without intervals; by site with; two cells that cannot be estimated."""
    rows = []
    value = {"train": 0.211, "shared": 0.173, "test": 0.176}
    for split in ("row", "site"):
        for fit_on in ("train", "test"):
            for marginal, increase in value.items():
                lost = unestimable and (split, fit_on) == ("site", "test")
                row: dict[str, Any] = {"split": split, "fit_on": fit_on, "marginal": marginal, "n": 10}
                row["rmse_increase"] = None if lost else increase * (1.0 if split == "row" else 0.45)
                row["sd"] = None if lost else 0.01
                row["reason"] = None if not lost else (NO_REPEAT if marginal == "test" else NO_TOWERS)
                if split == "site" and not lost:
                    row |= {"pooled": increase * 0.46, "low": increase * 0.46 - 0.07, "high": increase * 0.46 + 0.08}
                    row |= {"p_value": 0.03, "p_note": "unit: tower"}
                if not lost:
                    row |= {"ess_train": 912.4, "ess_test": 455.0, "kept_train": 0.42, "kept_test": 0.61}
                rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def make_slices(bins: int = 12) -> pl.DataFrame:
    """Curves of three covariates and the classes; the outer bins of test have no standard error."""
    rows: list[tuple[Any, ...]] = []
    for name in ("TA", "VPD", "SW_IN_POT_daily_mean"):
        mean, sd, _ = COVARIATES[name]
        for place, z in enumerate(np.linspace(-2, 2.5, bins)):
            for side, lift in (("train", 0.0), ("test", -1.2)):
                for kind, share in (("raw", 1.0), ("reweighted", 0.3)):
                    se = None if side == "test" and place in (0, 1, bins - 1) else 0.35
                    value = 8 / (1 + np.exp(-2 * z)) + lift * share
                    rows.append(
                        (name, None, float(mean + z * sd), side, kind, float(value), se, 2 if se is None else 12)
                    )
    for place, word in enumerate(CLASSES):
        for side, lift in (("train", 0.0), ("test", -0.8)):
            for kind, share in (("raw", 1.0), ("reweighted", 0.3)):
                se = None if place == 5 and side == "test" else 0.4
                rows.append(("PFT", word, float(place), side, kind, 3.0 + place / 2 + lift * share, se, 4))
    names = ["covariate", "label", "x", "side", "kind", "mean", "se", "n_sites"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def make_sites(n: int = 60, seed: int = 5) -> pl.DataFrame:
    """Towers over the globe: half train, a sixth validation, a third test."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        part = ("train", "test", "train", "validation", "test", "train")[i % 6]
        index = float(rng.lognormal(-1.2, 0.6)) if part == "test" else None
        rows.append(
            {
                "site_id": f"XX-{i:03d}",
                "lat": float(rng.uniform(-40, 68)),
                "lon": float(rng.uniform(-150, 160)),
                "part": part,
                "index_median": index,
                "outside_share": None if index is None else min(1.0, index / 1.2),
                "rmse": None if index is None else float(2 + 2 * index + rng.normal(0, 0.3)),
                "n": 8760,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def make_error_curve(models: tuple[str, ...] = ("lr", "xgb", "maxrm-regret")) -> pl.DataFrame:
    """Error rises with the index; the last bin holds two towers."""
    edges = np.array([0.02, 0.06, 0.12, 0.2, 0.3, 0.45, 0.7, 1.4])
    rows = [
        (model, float(a), float(b), float((a + b) / 2), float((1.5 + 1.2 * b) * (1 + k / 5)), 4000, 20 if b < 1 else 2)
        for k, model in enumerate(models)
        for a, b in itertools.pairwise(edges)
    ]
    return pl.DataFrame(rows, schema=["model", "low", "high", "index", "rmse", "n", "n_sites"], orient="row")


def make_nearest(n: int = 300, seed: int = 6) -> pl.DataFrame:
    """Test further than cross-validation, the prediction domain further still."""
    rng = np.random.default_rng(seed)
    frames = [
        pl.DataFrame({"space": space, "kind": kind, "distance": rng.lognormal(np.log(size * far), 0.6, n)})
        for space, size in (("feature", 0.3), ("geographic", 180.0))
        for kind, far in (("train_cv", 1.0), ("test", 1.6), ("domain", 3.0))
    ]
    return pl.concat(frames)


def make_nearest_summary() -> pl.DataFrame:
    """Cross-validation by tower against the test, in both spaces."""
    rows = [("feature", "by_tower", "test", 0.12, 0.3, 0.31, 0.49, "index", None)]
    rows.append(("geographic", "by_tower", "test", 88.0, 0.4, 176.0, 301.0, "km", None))
    names = ["space", "cv", "against", "w", "w_relative", "median_cv", "median_against", "unit", "reason"]
    return pl.DataFrame(rows, schema=names, orient="row")


def make_acf(sites: int = 14, seed: int = 7) -> pl.DataFrame:
    """Three series at three scales; slowly decaying, hourly with a daily cycle."""
    rng = np.random.default_rng(seed)
    frames = []
    for series in ("GPP", "NEE", "residual"):
        for scale, most, memory in (("hourly", 72, 40.0), ("daily", 60, 20.0), ("weekly", 52, 6.0)):
            lag = np.arange(most + 1)
            for i in range(sites):
                own = memory * rng.uniform(0.5, 1.5)
                cycle = 0.55 + 0.45 * np.cos(2 * np.pi * lag / 24) if scale == "hourly" else 1.0
                acf = np.exp(-lag / own) * cycle
                frames.append(
                    pl.DataFrame(
                        {"site_id": f"XX-{i:03d}", "series": series, "scale": scale, "lag": lag, "acf": acf, "n": 900}
                    )
                )
    return pl.concat(frames)


def make_effective() -> pl.DataFrame:
    """Effective sample sizes of three towers."""
    return pl.DataFrame(
        [
            (f"XX-{i:03d}", series, scale, n, n / cut)
            for i in range(3)
            for series in ("GPP", "residual")
            for scale, n, cut in (("hourly", 8760, 60.0), ("daily", 365, 14.0), ("weekly", 52, 5.0))
        ],
        schema=["site_id", "series", "scale", "n", "n_effective"],
        orient="row",
    )


def make_decomposition() -> pl.DataFrame:
    """All towers, rows alike and towers alike."""
    rows = []
    for weights in ("row", "site"):
        parts = {"mse": 10.0, "offset": 3.0, "slope": 1.0, "rest": 6.0, "common": 0.5, "between": 2.5}
        shares = {f"{name}_share": value / 10 for name, value in parts.items() if name != "mse"}
        rows.append({"weights": weights, **parts, **shares, "within_share": 0.7, "n": 9000, "n_sites": 12})
    return pl.DataFrame(rows)


def make_family(models: tuple[str, ...] = ("lr", "xgb", "mlp")) -> pl.DataFrame:
    """Six scenarios of rising difficulty."""
    rows = [
        (f"warm-{step}", 0.5 + 0.08 * step, 0.01, model, summary, (2 + step * 0.3) * (1 + k / 6) * size)
        for step in range(6)
        for k, model in enumerate(models)
        for summary, size in (("median", 1.0), ("q90", 1.7))
    ]
    return pl.DataFrame(rows, schema=["scenario", "shift", "shift_sd", "model", "summary", "rmse"], orient="row")


def make_reference() -> pl.DataFrame:
    """Published numbers, by row, fit on train."""
    value = {"train": 0.141, "test": 0.137, "shared": 0.135}
    return pl.DataFrame(
        [("train", marginal, increase) for marginal, increase in value.items()],
        schema=["fit_on", "marginal", "rmse_increase"],
        orient="row",
    )


def make_covariate(**site: Any) -> dict[str, Any]:
    """Numbers of the domain classifier, as ``CovariateShift.to_dict()`` gives them."""
    row = {"split": "row", "auc": 0.983, "auc_sd": 0.001, "balanced_accuracy": 0.921, "balanced_accuracy_sd": 0.002}
    row |= {"brier": 0.041, "brier_sd": 0.001, "calibration_error": 0.004, "calibration_error_sd": 0.001}
    row |= {"repeats": 10, "p_value": 0.01, "p_note": "unit: row; anti-conservative", "test_share": 0.4}
    row |= {"binomial_p": 1e-300, "reason": None}
    tower = {**row, "split": "site", "auc": 0.861, "auc_sd": 0.023, "balanced_accuracy": 0.769}
    tower |= {"p_note": "unit: tower; 20 train and 12 test towers exchange their labels", "permutation_auc": 0.84}
    tower |= {"exchanged_auc": 0.51, **site}
    del tower["binomial_p"]
    record = {"protocol": "paper", "seed": 0, "max_rows": 200_000, "train_rows": 2_000_000, "test_rows": 800_000}
    record |= {"train_rows_used": 142_857, "test_rows_used": 57_143, "unit": "tower", "train_towers": 20}
    record |= {"test_towers": 12, "repeats": 10, "permutations": 99, "seconds": {"rows": 0.2, "by_row": 30.1}}
    return {"by_row": row, "by_site": tower, "record": record}


def make_conditional_dict(table: pl.DataFrame | None = None, **shared: Any) -> dict[str, Any]:
    """The same numbers as the table, as ``ConditionalShift.to_dict()`` gives them; ``shared`` changes the main cell."""
    table = make_conditional() if table is None else table
    tree: dict[str, Any] = {"by_site": {}}
    for row in table.iter_rows(named=True):
        top = tree if row["split"] == "row" else tree["by_site"]
        cell = {key: value for key, value in row.items() if key not in ("split", "fit_on", "marginal", "sd")}
        cell |= {"rmse_increase_sd": row["sd"], "decision": "larger" if row["p_value"] is not None else "no decision"}
        top.setdefault(f"fit_on_{row['fit_on']}", {})[row["marginal"]] = cell
    tree["by_site"]["fit_on_train"]["shared"] |= shared
    tree["record"] = {"protocol": "paper", "seed": 0, "max_rows": 200_000, "repeats": 10}
    return tree


def make_tables() -> dict[str, pl.DataFrame]:
    """Every table of the page."""
    return {
        "univariate": make_univariate(),
        "histograms": make_histograms(),
        "importance": make_importance(),
        "calibration": make_calibration(),
        "distances": make_distances(),
        "conditional": make_conditional(),
        "slices": make_slices(),
        "decomposition": make_decomposition(),
        "sites": make_sites(),
        "error_curve": make_error_curve(),
        "nearest": make_nearest(),
        "nearest_summary": make_nearest_summary(),
        "acf": make_acf(),
        "effective": make_effective(),
        "family": make_family(),
    }
