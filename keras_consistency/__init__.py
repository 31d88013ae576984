"""Consistency training for Keras: a student learns from labels, and from agreeing with a teacher."""

from keras_consistency import _requirements
from keras_consistency._version import __version__

_requirements.check()

from keras_consistency import (  # noqa: E402 - after the check that they can be imported
    alignments,
    augment,
    banks,
    bounds,
    callbacks,
    data,
    datasets,
    divergences,
    evaluation,
    forwards,
    geometries,
    heads,
    losses,
    mixers,
    parts,
    perturbations,
    recipes,
    schedules,
    stability,
    targets,
    teachers,
    weights,
)
from keras_consistency.clipping import Clipping  # noqa: E402
from keras_consistency.consistency import Consistency  # noqa: E402
from keras_consistency.model import ConsistencyModel  # noqa: E402
from keras_consistency.regularization import regularize  # noqa: E402
from keras_consistency.views import View  # noqa: E402

__all__ = [
    "Clipping",
    "Consistency",
    "ConsistencyModel",
    "View",
    "__version__",
    "alignments",
    "augment",
    "banks",
    "bounds",
    "callbacks",
    "data",
    "datasets",
    "divergences",
    "evaluation",
    "forwards",
    "geometries",
    "heads",
    "losses",
    "mixers",
    "parts",
    "perturbations",
    "recipes",
    "regularize",
    "schedules",
    "stability",
    "targets",
    "teachers",
    "weights",
]
