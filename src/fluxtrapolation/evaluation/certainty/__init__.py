"""How sure a number is: intervals over sites, paired comparison, ranking, strata, spread between seeds and draws."""

from fluxtrapolation.evaluation.certainty.compare import Comparison, compare
from fluxtrapolation.evaluation.certainty.intervals import intervals
from fluxtrapolation.evaluation.certainty.rank import Ranking, rank
from fluxtrapolation.evaluation.certainty.spread import spread
from fluxtrapolation.evaluation.certainty.strata import cdf, strata

__all__ = ["Comparison", "Ranking", "cdf", "compare", "intervals", "rank", "spread", "strata"]
