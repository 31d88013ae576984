"""docs/augmentation.md: its code runs, and its tables are those of the code."""

import inspect
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_consistency as kc

PAGE = (pathlib.Path(__file__).resolve().parents[1] / "docs" / "augmentation.md").read_text(encoding="utf-8")
# What is made only to be inherited from, and functions.
NO_ROW = {"ColorLayer", "GeometricLayer", "ImageLayer", "Policy", "TextLayer", "medium", "strong", "weak"}
NO_ROW |= {"ENGLISH_STOP_WORDS", "read_lexicon"}


def table(heading):
    """The rows of a section's table: the name of each layer, and the cells after it."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


@pytest.mark.parametrize(("heading", "module"), [("Image layers", kc.augment.image), ("Text layers", kc.augment.text)])
def test_every_layer_has_a_row_with_its_strength(heading, module):
    rows = table(heading)
    assert set(rows) == set(module.__all__) - NO_ROW
    for name, (_, strength, *_) in rows.items():
        default = re.match(r"`(\w+)=([\d./]+)`", strength)
        if default:
            argument, value = default.groups()
            top, _, bottom = value.partition("/")
            expected = float(top) / float(bottom or 1)
            assert inspect.signature(getattr(module, name)).parameters[argument].default == pytest.approx(expected), (
                name
            )
        else:
            assert name in ("RandomColorJitter",)


def test_counterparts_are_layers_of_keras_and_what_moves_moves_masks():
    image = kc.augment.image
    for name, (_, _, counterpart, moves) in table("Image layers").items():
        assert not counterpart or hasattr(keras.layers, counterpart.strip("`")), name
        overridden = getattr(image, name).get_matrices is not image.ImageLayer.get_matrices
        assert overridden == (moves in ("yes", "refuses")), name
        if moves == "refuses":
            with pytest.raises(ValueError, match="no one place"):
                getattr(image, name)()({"images": np.zeros([4, 4, 3], "uint8"), "segmentation_masks": np.zeros([4, 4])})


# Keras says it of every `tf.data.Dataset`, and tensorflow-datasets' dependencies on import.
@pytest.mark.filterwarnings("ignore:.shuffle=True:UserWarning", "ignore::DeprecationWarning")
def test_code_of_the_page_runs():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 9
    for block in blocks:
        exec(compile(block.replace("steps=100", "steps=2"), "augmentation.md", "exec"), names)
    assert np.any(names["rewritten"] != names["reviews"])
    x = names["x"]
    assert names["turned"].shape == (4, 28, 28, 1) and np.any(names["turned"] != x[:4])
    assert names["mixed"].dtype == "uint8" and names["targets"].shape == (64, 10)
    moved, masks = names["moved"], names["masks"].numpy()
    assert moved["segmentation_masks"].dtype == "int32" and np.any(moved["segmentation_masks"] != masks)
    assert set(np.unique(moved["segmentation_masks"])) == {-1, 0, 1}
    assert names["views"].shape == (8, 28, 28, 1) and np.all(names["views"] <= x[:8])
    assert names["model"].optimizer.iterations == 2
