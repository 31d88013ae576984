"""Callbacks for `fit`."""

from keras_consistency.callbacks.adapt_augmentation import AdaptAugmentation
from keras_consistency.callbacks.gradient_clipping import GradientClipping
from keras_consistency.callbacks.learning_rate import LearningRate
from keras_consistency.callbacks.stability_monitor import StabilityMonitor
from keras_consistency.callbacks.training_report import TrainingReport

__all__ = ["AdaptAugmentation", "GradientClipping", "LearningRate", "StabilityMonitor", "TrainingReport"]
