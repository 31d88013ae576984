"""Random views of images, drawn for each image on its own."""

from keras_consistency.augment.image.augmix import AugMix
from keras_consistency.augment.image.auto_contrast import AutoContrast
from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.augment.image.ct_augment import CTAugment
from keras_consistency.augment.image.cutout import Cutout
from keras_consistency.augment.image.equalization import Equalization
from keras_consistency.augment.image.gaussian_noise import GaussianNoise
from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import ImageLayer
from keras_consistency.augment.image.patch_masking import PatchMasking
from keras_consistency.augment.image.policy import Policy
from keras_consistency.augment.image.presets import medium, strong, weak
from keras_consistency.augment.image.rand_augment import RandAugment
from keras_consistency.augment.image.random_brightness import RandomBrightness
from keras_consistency.augment.image.random_color_jitter import RandomColorJitter
from keras_consistency.augment.image.random_contrast import RandomContrast
from keras_consistency.augment.image.random_crop_and_pad import RandomCropAndPad
from keras_consistency.augment.image.random_erasing import RandomErasing
from keras_consistency.augment.image.random_flip import RandomFlip
from keras_consistency.augment.image.random_gaussian_blur import RandomGaussianBlur
from keras_consistency.augment.image.random_grayscale import RandomGrayscale
from keras_consistency.augment.image.random_hue import RandomHue
from keras_consistency.augment.image.random_invert import RandomInvert
from keras_consistency.augment.image.random_perspective import RandomPerspective
from keras_consistency.augment.image.random_posterization import RandomPosterization
from keras_consistency.augment.image.random_resized_crop import RandomResizedCrop
from keras_consistency.augment.image.random_rotation import RandomRotation
from keras_consistency.augment.image.random_saturation import RandomSaturation
from keras_consistency.augment.image.random_sharpness import RandomSharpness
from keras_consistency.augment.image.random_shear import RandomShear
from keras_consistency.augment.image.random_shift import RandomShift
from keras_consistency.augment.image.random_translation import RandomTranslation
from keras_consistency.augment.image.random_zoom import RandomZoom
from keras_consistency.augment.image.solarization import Solarization
from keras_consistency.augment.image.trivial_augment import TrivialAugment

__all__ = [
    "AugMix",
    "AutoContrast",
    "CTAugment",
    "ColorLayer",
    "Cutout",
    "Equalization",
    "GaussianNoise",
    "GeometricLayer",
    "ImageLayer",
    "PatchMasking",
    "Policy",
    "RandAugment",
    "RandomBrightness",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCropAndPad",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomShift",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
    "TrivialAugment",
    "medium",
    "strong",
    "weak",
]
