"""Satellite covariates: from composites of days to hours of a store, never filled over long gaps."""

from fluxtrapolation.data.satellite.join import Joined, join_covariates

__all__ = ["Joined", "join_covariates"]
