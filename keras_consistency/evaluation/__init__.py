"""How robust a trained model is, and how far its confidence can be believed."""

from keras_consistency.evaluation.calibration import calibration
from keras_consistency.evaluation.plot import plot_robustness
from keras_consistency.evaluation.robustness import robustness

__all__ = ["calibration", "plot_robustness", "robustness"]
