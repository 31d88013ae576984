"""Divergences: how far the student's answer is from the target.

A divergence is called with the target and the student's answer, float32 of one shape `(examples, ..., classes)`, and
returns float32 `(examples, ...)`. The gradient flows into the answer only. One that looks at the batch as a
whole, or at several student views together, overrides `loss` instead.
"""

from keras_consistency.divergences.between import Between
from keras_consistency.divergences.contrast import CosineSimilarity, GraphContrast, InstanceCrossEntropy
from keras_consistency.divergences.divergence import Divergence
from keras_consistency.divergences.fairness import Fairness
from keras_consistency.divergences.jensen_shannon import JensenShannon
from keras_consistency.divergences.probabilities import CrossEntropy, Entropy, KullbackLeibler, SquaredError
from keras_consistency.divergences.values import Huber, SquaredDistance

__all__ = [
    "Between",
    "CosineSimilarity",
    "CrossEntropy",
    "Divergence",
    "Entropy",
    "Fairness",
    "GraphContrast",
    "Huber",
    "InstanceCrossEntropy",
    "JensenShannon",
    "KullbackLeibler",
    "SquaredDistance",
    "SquaredError",
]
