"""Prediction and evaluation on all cores of a machine or of a cluster, by Ray Data.

`predict(source, model)` gives rows as a `ray.data.Dataset`; `predict_into` writes them into results that the same call
goes on with. Needs `pip install 'linnet[cluster]'` on every machine, and sources that every machine reaches.
"""

from __future__ import annotations

from linnet.cluster.connecting import connect
from linnet.cluster.predicting import ClusterPredictor, predict, predict_into

__all__ = ["ClusterPredictor", "connect", "predict", "predict_into"]
