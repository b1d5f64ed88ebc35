"""Speed of the neural models beside a straightforward PyTorch version of each, measured in turn in the same run.

    python benchmarks/models.py [--rows 300000] [--domains 147] [--threads 2] [--device auto] [--json]

The plain versions are what one first writes: a DataLoader over a TensorDataset, a loop over the domains of a batch, a
dataset that cuts one window at a time; network, optimiser, batch size and device are the same. The fastest run of each
counts. Then the epochs of the domain-aware objectives over that of the MLP, with 10, the given number and 440 domains;
and the LSTM's prediction of every hour over one of its training epochs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fluxtrapolation.models import model_spec
from fluxtrapolation.models.neural.engine import pick_device
from fluxtrapolation.scenarios import Part

FEATURES, HIDDEN, BATCH, LSTM_HIDDEN, LSTM_BATCH = 25, (128, 64), 1024, 64, 64
ROW_MODELS = ("mlp", "gdro", "coral", "mmd", "mmd-median", "vrex", "irm", "dann", "tabm")


def world(rows: int, n_domains: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Random covariates and a target that bends; domains of equal expected size."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(rows, FEATURES)).astype(np.float32)
    y = 2 * X[:, 0] + np.maximum(X[:, 1], 0) + generator.normal(size=rows)
    return X, y.astype(np.float32), generator.integers(0, n_domains, rows)


def hours(sites: int, per_site: int) -> Part:
    """Towers of consecutive hours, all measured."""
    X, y, _ = world(sites * per_site, 2)
    start = np.datetime64("2015-01-01T00", "s")
    codes = np.repeat(np.arange(sites), per_site).astype(np.int32)
    labels = tuple(f"XX-{number:03d}" for number in range(sites))
    return Part(
        name="train",
        target="GPP",
        scenario="benchmark",
        domain_kind="site",
        feature_names=tuple(f"x{number}" for number in range(FEATURES)),
        X=X,
        y=y,
        qc=np.ones(len(y), dtype=np.int8),
        time=np.tile(start + np.arange(per_site) * np.timedelta64(3600, "s"), sites),
        site_codes=codes,
        sites=labels,
        domain_codes=codes,
        domains=labels,
        mask=np.ones(len(y), dtype=np.bool_),
    )


def seconds_since(begin: float, device: torch.device) -> float:
    """Seconds until all work is done, on a GPU too."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def network() -> tuple[nn.Sequential, nn.Linear]:
    """The plain MLP: body to the last hidden layer, and head."""
    body = nn.Sequential(
        *(nn.Linear(FEATURES, HIDDEN[0]), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ReLU(), nn.Dropout(0.1)),
    )
    return body, nn.Linear(HIDDEN[1], 1)


def plain_rows(kind: str, rows: int, n_domains: int, device: torch.device) -> Callable[[], float]:
    """A plain PyTorch epoch of one objective; gives its seconds."""
    X, y, domains = world(rows, n_domains)
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y), torch.from_numpy(domains))
    body, head = (part.to(device) for part in network())
    optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-3)
    weights = torch.full((n_domains,), 1.0 / n_domains, device=device)

    def loss_of(z: torch.Tensor, error: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        if kind == "gdro":
            total = error.new_zeros(())
            for d in range(n_domains):
                mine = domain == d
                if mine.any():
                    risk = error[mine].mean()
                    weights[d] *= torch.exp(1e-2 * risk.detach())
                    total = total + weights[d] / weights.sum() * risk
            return total
        total = error.mean()
        if kind == "coral":
            for d in torch.unique(domain)[torch.randperm(len(torch.unique(domain)))[:10]]:
                mine = z[domain == d]
                if len(mine) > 1:
                    total = total + (mine.mean(0) - z.mean(0)).square().mean() / 10
                    total = total + (torch.cov(mine.T) - torch.cov(z.T)).square().mean() / 10
        if kind == "mmd":
            chosen = torch.unique(domain)[torch.randperm(len(torch.unique(domain)))[:5]]
            for i in range(len(chosen)):
                for j in range(i + 1, len(chosen)):
                    a, b = z[domain == chosen[i]], z[domain == chosen[j]]
                    for gamma in (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3):
                        for sign, p, q in ((1, a, a), (1, b, b), (-2, a, b)):
                            total = total + sign * torch.exp(-gamma * torch.cdist(p, q).square()).mean() / 10
        return total

    def epoch() -> float:
        begin = time.perf_counter()
        for batch in DataLoader(data, batch_size=BATCH, shuffle=True):
            rows_x, rows_y, domain = (part.to(device) for part in batch)
            optimiser.zero_grad()
            z = body(rows_x)
            loss = loss_of(z, (head(z).squeeze(-1) - rows_y).square(), domain)
            loss.backward()
            optimiser.step()
        return seconds_since(begin, device)

    return epoch


class CutWindows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One window at a time, as arrays cut from the hours of a part."""

    def __init__(self, part: Part) -> None:
        self.part, self.windows = part, part.windows()

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        begin = int(self.windows.start[index])
        rows = slice(begin, begin + 720)
        return torch.from_numpy(self.part.X[rows].copy()), torch.from_numpy(self.part.y[rows].copy())


def plain_lstm(part: Part, device: torch.device) -> Callable[[], float]:
    """A plain PyTorch epoch over windows of 720 hours; gives its seconds."""
    data = CutWindows(part)
    net = nn.LSTM(FEATURES, LSTM_HIDDEN, batch_first=True).to(device)
    head = nn.Linear(LSTM_HIDDEN + FEATURES, 1).to(device)
    dropout = nn.Dropout(0.1)
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=1e-3)

    def epoch() -> float:
        begin = time.perf_counter()
        for batch in DataLoader(data, batch_size=LSTM_BATCH, shuffle=True):
            X, y = (part.to(device) for part in batch)
            optimiser.zero_grad()
            out = head(torch.cat([dropout(net(X)[0]), X], dim=-1)).squeeze(-1)
            (out - y)[:, 168:].square().mean().backward()
            optimiser.step()
        return seconds_since(begin, device)

    return epoch


def ours(name: str, rows: int, n_domains: int, options: argparse.Namespace) -> float:
    """Seconds of an epoch of one of our models on rows (mean of those of one fit)."""
    X, y, domains = world(rows, n_domains)
    params: dict[str, Any] = {} if name == "tabm" else {"hidden": "128-64", "batch_size": BATCH}
    model = model_spec(name).build(max_epochs=options.epochs, device=options.device, n_jobs=options.threads, **params)
    model.fit(X, y, domains=domains)
    return float(model.report_["seconds_per_epoch"])


def our_lstm(part: Part, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of a training epoch, and of predicting every hour."""
    model: Any = model_spec("lstm").build(
        hidden=LSTM_HIDDEN,
        batch_size=LSTM_BATCH,
        max_epochs=max(1, options.epochs - 1),
        device=options.device,
        n_jobs=options.threads,
    )
    model.fit(part)
    model.predict(part)
    begin = time.perf_counter()
    model.predict(part)
    return float(model.report_["seconds_per_epoch"]), time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--domains", type=int, default=147)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    own: dict[tuple[str, int], float] = {}
    peer: dict[str, float] = {}
    counts = sorted({10, options.domains, 440})
    place = pick_device(options.device, "benchmark")
    plain = {kind: plain_rows(kind, options.rows, options.domains, place) for kind in ("mlp", "gdro", "coral", "mmd")}
    for _ in range(options.repeats):
        # In turn, so that a busy moment of the machine does not fall on one side only.
        for name in ROW_MODELS:
            for n in counts if name not in ("mlp", "tabm") else [options.domains]:
                own[name, n] = min(own.get((name, n), np.inf), ours(name, options.rows, n, options))
            if name in plain:
                peer[name] = min(peer.get(name, np.inf), plain[name]())
    part = hours(max(1, options.rows // 8767), 8767)
    n_windows = len(part.windows())
    cut, lstm, lstm_predict, lstm_peer = plain_lstm(part, place), np.inf, np.inf, np.inf
    for _ in range(options.repeats):
        epoch, predict = our_lstm(part, options)
        lstm, lstm_predict, lstm_peer = min(lstm, epoch), min(lstm_predict, predict), min(lstm_peer, cut())

    mlp = own["mlp", options.domains]
    device = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    rows = [
        {
            "model": name,
            "rows_per_s": options.rows / own[name, options.domains],
            "plain_rows_per_s": options.rows / peer[name] if name in peer else None,
            "times_plain": peer[name] / own[name, options.domains] if name in peer else None,
            **{f"over_mlp_{n}": own[name, n] / mlp if (name, n) in own else None for n in counts},
        }
        for name in ROW_MODELS
    ]
    steps = n_windows * 720
    sequence = {
        "window_steps_per_s": steps / lstm,
        "plain_window_steps_per_s": steps / lstm_peer,
        "times_plain": lstm_peer / lstm,
        "predict_over_epoch": lstm_predict / lstm,
    }
    if options.json:
        print(json.dumps({"device": device, "rows": rows, "lstm": sequence}))
        return
    print(f"{options.rows:,} rows, {options.domains} domains, batch {BATCH}, {options.threads} threads, {device}\n")
    print(
        "| model | rows/s | plain PyTorch rows/s | times | "
        + " | ".join(f"over mlp, {n} domains" for n in counts)
        + " |"
    )
    print("|---|---|---|---|" + "---|" * len(counts))
    for row in rows:
        cells = [row[f"over_mlp_{n}"] for n in counts]
        print(
            f"| {row['model']} | {row['rows_per_s']:,.0f} | "
            + (f"{row['plain_rows_per_s']:,.0f} | {row['times_plain']:.1f} | " if row["times_plain"] else "- | - | ")
            + " | ".join("-" if cell is None else f"{cell:.2f}" for cell in cells)
            + " |"
        )
    print(
        f"\nlstm, hidden {LSTM_HIDDEN}, batch {LSTM_BATCH}, {n_windows:,} windows of 720 h: "
        f"{sequence['window_steps_per_s']:,.0f} window-steps/s, "
        f"plain PyTorch {sequence['plain_window_steps_per_s']:,.0f} "
        f"({sequence['times_plain']:.2f} times); every hour predicted in {sequence['predict_over_epoch']:.2f} epochs"
    )


if __name__ == "__main__":
    main()
