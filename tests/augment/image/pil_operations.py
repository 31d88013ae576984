"""The operations of policies as PIL does them, by name and amount, and what compares a layer with them."""

import math

import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

GREY = 127


def picture(height=19, width=26, channels=3):
    """Waves and noise: every operation changes them, and interpolation shows."""
    rng = np.random.default_rng(1)
    y, x = np.meshgrid(np.linspace(0, 4, height), np.linspace(0, 5, width), indexing="ij")
    waves = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(channels)], -1)
    return np.clip(110 + 90 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype("uint8")


def to_pil(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def affine(pil, *coefficients):
    fill = GREY if pil.mode == "L" else (GREY,) * 3
    return pil.transform(pil.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=fill)


def _rotated(pil, degrees):
    return pil.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=GREY if pil.mode == "L" else (GREY,) * 3)


# (image, amount in the unit of `operations`) -> image.
PIL_OPERATIONS = {
    "identity": lambda pil, a: pil,
    "autocontrast": lambda pil, a: Image.blend(pil, ImageOps.autocontrast(pil), a),
    "blur": lambda pil, a: Image.blend(pil, pil.filter(ImageFilter.BLUR), a),
    "brightness": lambda pil, a: ImageEnhance.Brightness(pil).enhance(a),
    "color": lambda pil, a: ImageEnhance.Color(pil).enhance(a),
    "contrast": lambda pil, a: ImageEnhance.Contrast(pil).enhance(a),
    "equalize": lambda pil, a: Image.blend(pil, ImageOps.equalize(pil), a),
    "invert": lambda pil, a: Image.blend(pil, ImageOps.invert(pil), a),
    # PIL refuses to keep no bit at all.
    "posterize": lambda pil, a: ImageOps.posterize(pil, round(a)) if round(a) else pil.point(lambda level: 0),
    "rotate": _rotated,
    "sharpness": lambda pil, a: ImageEnhance.Sharpness(pil).enhance(a),
    "shear_x": lambda pil, a: affine(pil, 1, a, 0, 0, 1, 0),
    "shear_y": lambda pil, a: affine(pil, 1, 0, 0, a, 1, 0),
    "shift_x": lambda pil, a: affine(pil, 1, 0, a, 0, 1, 0),
    "shift_y": lambda pil, a: affine(pil, 1, 0, 0, 0, 1, a),
    "smooth": lambda pil, a: Image.blend(pil, pil.filter(ImageFilter.SMOOTH), a),
    "solarize": lambda pil, a: ImageOps.solarize(pil, math.ceil(a)),
    "translate_x": lambda pil, a: affine(pil, 1, 0, a * pil.width, 0, 1, 0),
    "translate_y": lambda pil, a: affine(pil, 1, 0, 0, 0, 1, a * pil.height),
    "zoom": lambda pil, a: affine(pil, 1 - a, 0, a * pil.width / 2, 0, 1 - a, a * pil.height / 2),
}


def chosen(layer, *slots, count=1):
    """A transformation that does the same to each of `count` images: slots of (name, strength, sign)."""
    names, strengths, signs = zip(*slots, strict=True)
    order = list(layer.OPERATIONS)

    def repeat(values, dtype):
        return tf.constant([values] * count, dtype)

    return {
        "operations": repeat([order.index(name) for name in names], tf.int32),
        "strengths": repeat(strengths, tf.float32),
        "signs": repeat(signs, tf.float32),
    }


def far_off(ours, pil):
    """Share of the values that lie more than one level from PIL's."""
    expected = np.asarray(pil).astype(int).reshape(ours.shape)
    return np.mean(np.abs(np.asarray(ours).astype(float) - expected) > 1.0 + 1e-3)


def assert_operation_is_pils(make, name, amount, *, channels, strengths, more=None):
    """One operation of a policy, at several strengths and either way, on bytes and on floats.

    Args:
        make: function from `value_range` to the layer.
        name: of the operation.
        amount: function from a strength and a sign to the operation's amount.
        channels: of the image.
        strengths: list.
        more: what the transformation holds beside operations, strengths and signs.
    """
    image, layer, units = picture(channels=channels), make(value_range=(0, 255)), make(value_range=(0, 1))
    for strength in strengths:
        for sign in (-1.0, 1.0):
            transformation = chosen(layer, (name, strength, sign)) | (more or {})
            expected = PIL_OPERATIONS[name](to_pil(image), amount(strength, sign))
            ours = layer.transform_images(tf.constant(image[None]), transformation)[0]
            # Pixels on the edge of a warp: PIL rounds their sources differently.
            assert far_off(ours, expected) <= 0.01
            floats = units.transform_images(tf.constant(image[None] / 255, tf.float32), transformation)[0] * 255
            np.testing.assert_allclose(floats, tf.cast(ours, tf.float32), atol=1e-3)
            if name not in ("identity", "color", "posterize") and channels == 3:
                assert np.any(np.asarray(ours) != image)
