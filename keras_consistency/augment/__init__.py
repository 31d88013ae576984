"""Keras layers that make random views of examples."""

from keras_consistency.augment import image
from keras_consistency.augment.chain import Chain
from keras_consistency.augment.random_layer import RandomLayer

__all__ = ["Chain", "RandomLayer", "image"]
