"""Keras layers that make random views of examples."""

from keras_consistency.augment import image, text
from keras_consistency.augment.chain import Chain
from keras_consistency.augment.perturbed import Perturbed
from keras_consistency.augment.random_layer import RandomLayer
from keras_consistency.augment.seeded import Seeded

__all__ = ["Chain", "Perturbed", "RandomLayer", "Seeded", "image", "text"]
