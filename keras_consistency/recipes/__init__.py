"""Recipes: each published algorithm as a function that puts parts together.

Every recipe takes a built student that returns logits and keyword-only hyperparameters whose defaults are the paper's,
and returns a `kc.ConsistencyModel`. Views are Keras layers, keys of views made in the input pipeline
(`kc.data.with_views`), or `keras.layers.Identity()` for none; an image student gets the image views where none are
given.
"""

from keras_consistency.recipes.adamatch import adamatch
from keras_consistency.recipes.adversarial_consistency import adversarial_consistency
from keras_consistency.recipes.adversarial_training import adversarial_training
from keras_consistency.recipes.alp import alp
from keras_consistency.recipes.augmix import augmix
from keras_consistency.recipes.comatch import comatch
from keras_consistency.recipes.crmatch import crmatch
from keras_consistency.recipes.dash import dash
from keras_consistency.recipes.defixmatch import defixmatch
from keras_consistency.recipes.fixmatch import fixmatch
from keras_consistency.recipes.flexmatch import flexmatch
from keras_consistency.recipes.freematch import freematch
from keras_consistency.recipes.ict import ict
from keras_consistency.recipes.mean_teacher import mean_teacher
from keras_consistency.recipes.mixmatch import mixmatch
from keras_consistency.recipes.noisy_student import noisy_student
from keras_consistency.recipes.pi_model import pi_model
from keras_consistency.recipes.pseudo_label import pseudo_label
from keras_consistency.recipes.refixmatch import refixmatch
from keras_consistency.recipes.remixmatch import remixmatch
from keras_consistency.recipes.sequencematch import sequencematch
from keras_consistency.recipes.simmatch import simmatch
from keras_consistency.recipes.softmatch import softmatch
from keras_consistency.recipes.temporal_ensembling import temporal_ensembling
from keras_consistency.recipes.trades import trades
from keras_consistency.recipes.uda import uda
from keras_consistency.recipes.vat import vat

__all__ = [
    "adamatch",
    "adversarial_consistency",
    "adversarial_training",
    "alp",
    "augmix",
    "available",
    "comatch",
    "crmatch",
    "dash",
    "defixmatch",
    "fixmatch",
    "flexmatch",
    "freematch",
    "ict",
    "mean_teacher",
    "mixmatch",
    "noisy_student",
    "pi_model",
    "pseudo_label",
    "refixmatch",
    "remixmatch",
    "sequencematch",
    "simmatch",
    "softmatch",
    "temporal_ensembling",
    "trades",
    "uda",
    "vat",
]


def available():
    """Names of the recipes, sorted."""
    return sorted(set(__all__) - {"available"})
