"""A scikit-learn estimator of one's own: the mean flux of the most similar hours.

fluxtrapolation train --model examples/bring_your_own/analogues.py:Analogues ...
"""

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Analogues(BaseEstimator, RegressorMixin):
    """Mean flux of the ``k`` most similar hours among ``memory`` train hours drawn at random."""

    def __init__(self, k=20, memory=20_000, random_state=None):
        self.k = k
        self.memory = memory
        self.random_state = random_state

    def fit(self, X, y):
        generator = np.random.default_rng(self.random_state)
        kept = generator.choice(len(X), min(self.memory, len(X)), replace=False)
        self.search_ = make_pipeline(StandardScaler(), KNeighborsRegressor(min(self.k, len(kept))))
        self.search_.fit(X[kept], y[kept])
        return self

    def predict(self, X):
        return self.search_.predict(X)
