"""Callbacks for `fit`."""

from keras_consistency.callbacks.adapt_augmentation import AdaptAugmentation

__all__ = ["AdaptAugmentation"]
