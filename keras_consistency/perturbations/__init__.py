"""Perturbations: noise and attacks. An attack gets a function from inputs to a loss or to logits, never the model."""

from keras_consistency.perturbations.fgsm import FGSM
from keras_consistency.perturbations.gaussian_noise import GaussianNoise
from keras_consistency.perturbations.masking import Masking
from keras_consistency.perturbations.perturbation import Perturbation
from keras_consistency.perturbations.pgd import PGD
from keras_consistency.perturbations.rotation import Rotation
from keras_consistency.perturbations.vat import VAT

__all__ = ["FGSM", "PGD", "VAT", "GaussianNoise", "Masking", "Perturbation", "Rotation"]
