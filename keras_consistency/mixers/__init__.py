"""Mixers: make new examples from several, once their targets exist.

A mixer is called with the batches that the student is to learn on, their targets, and a seed, and returns both mixed.
It sees the batches of all terms together, and the labelled one with them where it mixes that too.
"""

from keras_consistency.mixers.cutmix import CutMix
from keras_consistency.mixers.mixer import Mixer
from keras_consistency.mixers.mixup import MixUp

__all__ = ["CutMix", "MixUp", "Mixer"]
