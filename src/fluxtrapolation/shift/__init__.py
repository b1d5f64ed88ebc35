"""How far the test is from the train: P(X), P(Y|X), where a model extrapolates, and what autocorrelation leaves."""

from __future__ import annotations
