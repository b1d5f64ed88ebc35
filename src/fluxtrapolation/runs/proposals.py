"""Which configuration is tried next: drawn at random (the published protocol) or proposed by TPE from those tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from fluxtrapolation.errors import ModelError, RunError, did_you_mean
from fluxtrapolation.models import ModelSpec
from fluxtrapolation.runs.folder import Trial

OBJECTIVE: Final = "mean"
"""The validation summary that TPE minimises."""


@dataclass(frozen=True)
class Profile:
    """How much is tried: configurations, who proposes them and, for quick looks, a limit on train rows."""

    name: str
    n_configurations: int
    max_rows: int | None
    sampler: Literal["random", "tpe"] = "random"


PROFILES: Final = {
    # Ten configurations on all rows: the published protocol (BENCHMARK, section 3).
    "paper": Profile("paper", 10, None),
    "quick": Profile("quick", 2, 300_000),
    "tpe": Profile("tpe", 20, None, "tpe"),
}


def profile_of(name: str) -> Profile:
    """Find a profile.

    Raises
    ------
    RunError
        If there is none of that name.
    """
    if name not in PROFILES:
        raise RunError(f"There is no profile {name!r}.{did_you_mean(name, PROFILES)} Known: {', '.join(PROFILES)}.")
    return PROFILES[name]


@dataclass(frozen=True)
class Proposal:
    """Hyper-parameters to try, and, where a later proposal needs it, the draw as optuna made it."""

    params: dict[str, Any]
    asked: dict[str, Any] | None = None


def configurations(spec: ModelSpec, n: int, *, seed: int) -> list[dict[str, Any]]:
    """Draw ``n`` configurations from a model's search space; one, empty, for a model without hyper-parameters.

    The draw is optuna's RandomSampler with the given seed, so the first k of n do not depend on n.
    """
    if spec.space is None:
        return [{}]
    optuna = _optuna(spec)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [spec.space(study.ask()) for _ in range(n)]


class RandomProposals:
    """The published protocol: all configurations are drawn at once, whatever comes of them."""

    def __init__(self, spec: ModelSpec, n: int, *, seed: int) -> None:
        self._drawn = configurations(spec, n, seed=seed)

    def __len__(self) -> int:
        return len(self._drawn)

    def propose(self, number: int, trials: Mapping[int, Trial], running: Mapping[int, Proposal]) -> Proposal:  # noqa: ARG002
        return Proposal(self._drawn[number])


class TpeProposals:
    """Tree-structured Parzen estimator (Bergstra et al. 2011) as optuna has it, on the mean validation RMSE.

    Nothing is kept between two proposals: the study is made anew from the trials on disk, and the sampler is seeded by
    (seed, number). So a search that was interrupted goes on exactly as if it had not been, as long as one trial runs at
    a time. Where several run at once, those that have not ended count as bad ones ("constant liar"), and what is
    proposed depends on the order in which they end.
    """

    def __init__(self, spec: ModelSpec, n: int, *, seed: int) -> None:
        self._spec, self._seed = spec, seed
        self._n = n if spec.space is not None else 1
        if spec.space is not None:
            _optuna(spec)

    def __len__(self) -> int:
        return self._n

    def propose(self, number: int, trials: Mapping[int, Trial], running: Mapping[int, Proposal]) -> Proposal:
        """The configuration of one trial; that of a trial that was tried before stays."""
        import numpy as np

        if self._spec.space is None:
            return Proposal({})
        optuna = _optuna(self._spec)
        held = trials.get(number)
        if held is not None and held.asked is not None:
            return Proposal(self._replay(held.asked)[0], held.asked)
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
        for _, trial in sorted(trials.items()):
            if trial.asked is not None:
                study.add_trial(self._as_optuna(trial.asked, trial))
        for _, proposal in sorted(running.items()):
            if proposal.asked is not None:
                study.add_trial(self._as_optuna(proposal.asked, None))
        drawn = study.ask()
        return Proposal(self._spec.space(drawn), dict(drawn.params))

    def _as_optuna(self, asked: dict[str, Any], trial: Trial | None) -> Any:
        """A trial of ours as optuna's; without one, a trial that still runs."""
        import optuna

        states = optuna.trial.TrialState
        state, value = states.RUNNING, None
        if trial is not None:
            state = states.FAIL if trial.status == "failed" else states.COMPLETE
            value = trial.strategies[OBJECTIVE] if trial.status == "ok" else None
        fixed = self._replay(asked)[1]
        return optuna.trial.create_trial(
            state=state, value=value, params=fixed.params, distributions=fixed.distributions
        )

    def _replay(self, asked: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Draw again what was drawn: the hyper-parameters, and optuna's trial with its distributions."""
        import optuna

        assert self._spec.space is not None
        for given in (asked, {name: _tuples(value) for name, value in asked.items()}):
            fixed: Any = optuna.trial.FixedTrial(given)
            try:
                return self._spec.space(fixed), fixed
            except ValueError as error:
                reason = error
        raise RunError(
            f"The search space of {self._spec.name} is not the one this run began with ({reason}). "
            "Train again with --overwrite."
        )


def _tuples(value: Any) -> Any:
    """JSON knows no tuples: lists may have been such."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


Proposals = RandomProposals | TpeProposals


def proposals(profile: Profile, spec: ModelSpec, n: int, *, seed: int) -> Proposals:
    """Who proposes the configurations of a run."""
    kind = TpeProposals if profile.sampler == "tpe" else RandomProposals
    return kind(spec, n, seed=seed)


def _optuna(spec: ModelSpec) -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise ModelError(
            f"Searching configurations of {spec.name} needs optuna: pip install 'fluxtrapolation[models]'."
        ) from None

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
