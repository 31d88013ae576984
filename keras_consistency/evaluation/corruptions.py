"""The common corruptions of images, by the package imagecorruptions, drawn for each image by its number."""

import difflib

import numpy as np

from keras_consistency.evaluation import extras

# Those of Hendrycks and Dietterich, in the order of their table; then the four that they tune on.
COMMON = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
NAMES = (*COMMON, "speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = (1, 2, 3, 4, 5)

# These two draw from a generator that takes its seed as an argument.
_SEED_ARGUMENT = ("impulse_noise", "glass_blur")
_LEAST_SIDE = 32
_GREEN = 1


def checked(names, severities):
    """The names and severities as tuples, `"common"` written out; raises for those that there are not."""
    names = (COMMON if names == "common" else (names,)) if isinstance(names, str) else names
    if not np.iterable(names):
        raise TypeError(f"`corruptions` must be 'common' or a list of names. Received: corruptions={names!r}")
    names = tuple(names)
    for name in names:
        if name not in NAMES:
            near = difflib.get_close_matches(str(name), NAMES, n=1)
            raise ValueError(
                f"`corruptions` must be 'common' or names out of {list(NAMES)}."
                + (f" Did you mean {near[0]!r}?" if near else "")
                + f" Received: corruptions={names!r}"
            )
    allowed = f"`severities` must be a list out of {list(SEVERITIES)}. Received: severities={severities!r}"
    if isinstance(severities, (str, bytes)) or not np.iterable(severities):
        raise TypeError(allowed)
    severities = tuple(severities)
    if not severities or any(isinstance(each, bool) or each not in SEVERITIES for each in severities):
        raise ValueError(allowed)
    return names, tuple(int(severity) for severity in severities)


def check_images(spec, value_range):
    """Raises unless a batch of inputs is one of images that can be corrupted, and the package is there."""
    received = f"Received: inputs of shape {tuple(spec.shape)}, value_range={value_range!r}"
    if spec.shape.rank != 4 or spec.shape[-1] not in (1, 3):
        raise ValueError(
            "`corruptions` are those of images, (examples, height, width, 1 or 3 channels): leave them out for other "
            f"inputs. {received}"
        )
    if value_range is None:
        raise ValueError(
            f"`value_range` must be that of the images for `corruptions` to know black and white. {received}"
        )
    extras.require("imagecorruptions", "`corruptions`")


def corrupt(images, name, severity, *, value_range, seed, first):
    """Corrupted images.

    The package works on bytes of three colours and at least 32 pixels a side: smaller images are mirrored at their
    edges, and cut out again; grey ones become three equal colours, of which green is kept, since a mean of three would
    weaken the noise.

    Args:
        images: NumPy `(examples, height, width, 1 or 3)`.
        name: one of `NAMES`.
        severity: 1 to 5.
        value_range: of the images.
        seed: integer of at least 0. With the number of an image, it determines what the image draws, at all severities.
        first: number of the first image.

    Returns:
        float32 of the shape of the images, within `value_range`, in 256 steps of it.
    """
    corruption = extras.require("imagecorruptions", "`corruptions`").corrupt
    low, high = value_range
    scaled = (np.asarray(images, "float32") - low) * (255.0 / (high - low))
    pixels = np.repeat(np.uint8(np.rint(scaled)), 3 // images.shape[-1], axis=-1)
    height, width = images.shape[1:3]
    edges = [
        (missing // 2, missing - missing // 2) for missing in (max(0, _LEAST_SIDE - side) for side in (height, width))
    ]
    padded = np.pad(pixels, [(0, 0), *edges, (0, 0)], mode="symmetric")
    corrupted = np.empty_like(padded)
    before = np.random.get_state()
    try:
        for row, image in enumerate(padded):
            draw = int(np.random.SeedSequence([seed, first + row]).generate_state(1)[0])
            np.random.seed(draw)
            options = {"seed": draw} if name in _SEED_ARGUMENT else {}
            corrupted[row] = corruption(image, severity, name, **options)
    finally:
        np.random.set_state(before)
    (top, _), (left, _) = edges
    cut = corrupted[:, top : top + height, left : left + width]
    cut = cut if images.shape[-1] == 3 else cut[..., _GREEN : _GREEN + 1]
    return np.float32(low) + cut.astype("float32") * np.float32((high - low) / 255.0)
