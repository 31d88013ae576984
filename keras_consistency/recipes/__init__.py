"""Recipes: each published algorithm as a function that puts parts together.

Every recipe takes a built student that returns logits and keyword-only hyperparameters whose defaults are the paper's,
and returns a `kc.ConsistencyModel`. Views are Keras layers, keys of views made in the input pipeline
(`kc.data.with_views`), or `keras.layers.Identity()` for none; an image student gets the image views where none are
given.
"""

from keras_consistency.recipes.fixmatch import fixmatch
from keras_consistency.recipes.flexmatch import flexmatch
from keras_consistency.recipes.mean_teacher import mean_teacher
from keras_consistency.recipes.mixmatch import mixmatch
from keras_consistency.recipes.pi_model import pi_model
from keras_consistency.recipes.pseudo_label import pseudo_label
from keras_consistency.recipes.uda import uda
from keras_consistency.recipes.vat import vat

__all__ = [
    "available",
    "fixmatch",
    "flexmatch",
    "mean_teacher",
    "mixmatch",
    "pi_model",
    "pseudo_label",
    "uda",
    "vat",
]


def available():
    """Names of the recipes, sorted."""
    return sorted(set(__all__) - {"available"})
