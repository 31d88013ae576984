"""The contact sheet: what it shows, what it writes, what it refuses."""

import functools
import pathlib

import numpy as np
import PIL.Image
import pytest
from absl import app

from keras_consistency.augment import image
from tests.examples import running

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What is made only to be inherited from.
BASES = {"ColorLayer", "GeometricLayer", "ImageLayer", "Policy"}
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype("uint8")

# tensorflow-datasets and its dependencies, on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def example():
    from examples import show_augmentations  # late: its imports may warn

    return show_augmentations


run = functools.partial(running.run, "show_augmentations")


def test_every_public_layer_has_a_row(example):
    assert not set(example.LAYERS) & set(example.PRESETS)
    assert {*example.LAYERS, *example.PRESETS} == set(image.__all__) - BASES


@pytest.mark.parametrize("name", ["RandomTranslation", "RandomErasing", "GaussianNoise", "RandAugment", "weak"])
def test_rows_begin_with_the_image_and_change_with_strength_and_seed(example, name):
    row = example.views(name, PICTURE, 7)
    assert [view.shape for view in row] == [PICTURE.shape] * 5 and row[0].dtype == np.uint8
    assert np.array_equal(row[0], PICTURE) == (name in example.LAYERS)
    assert len({view.tobytes() for view in row}) >= 4
    np.testing.assert_array_equal(row, example.views(name, PICTURE, 7))
    assert np.any(np.array(row) != example.views(name, PICTURE, 8))


def test_a_file_becomes_a_sheet(tmp_path):
    PIL.Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    output = tmp_path / "new" / "sheet.png"
    rows = "--layers=RandomFlip,Cutout,weak"
    status, out, err = run(f"--image={tmp_path / 'picture.png'}", rows, "--seed=3", f"--output={output}")
    assert status == 0, err[-2000:]
    assert out.splitlines()[-1] == f"Written: {output}"
    sheet = np.asarray(PIL.Image.open(output).convert("RGB"))
    # Three rows of five: eight times the picture, and a border that makes it a square.
    side = 8 * 16 + 4
    assert sheet.shape == (30 + 3 * side, 190 + 5 * side, 3)
    above, beside = 30 + (side - 8 * 12) // 2, 190 + (side - 8 * 16) // 2
    for row in range(2):
        shown = sheet[above + row * side :][: 8 * 12, beside : beside + 8 * 16]
        np.testing.assert_array_equal(shown[4::8, 4::8], PICTURE)


def test_pictures_may_be_grey_or_large(example, tmp_path):
    example.draw({"grey": [PICTURE[..., :1]] * 5}, tmp_path / "sheet.png")
    shown = np.asarray(PIL.Image.open(tmp_path / "sheet.png").convert("RGB"))[30:, 190:]
    np.testing.assert_array_equal(shown[..., 0], shown[..., 2])
    PIL.Image.fromarray(PICTURE.repeat(20, axis=0).repeat(20, axis=1)).save(tmp_path / "large.jpg")
    picture = example.load_picture(str(tmp_path / "large.jpg"), None)
    assert picture.shape == (96, 128, 3) and picture.dtype == np.uint8
    default = example.load_picture(None, None)
    assert default.shape == (128, 128, 3) and default.std() > 20


def test_data_sets_give_their_first_image(example):
    (x, _), _ = example.kc.datasets.load("digits")
    np.testing.assert_array_equal(example.load_picture(None, "digits"), x[0])


@pytest.mark.parametrize(
    ("path", "dataset", "words"),
    [
        ("nowhere.png", None, "--image must be a PNG or JPEG file.*nowhere.png"),
        (__file__, None, "--image must be a PNG or JPEG file"),
        (None, "nosuch", "--dataset: .*nosuch"),
        ("a.png", "digits", "Give one of --image and --dataset. Received both"),
    ],
)
def test_what_is_no_picture_is_refused(example, path, dataset, words):
    with pytest.raises(app.UsageError, match=words):
        example.load_picture(path, dataset)


@pytest.mark.parametrize(("names", "received"), [(["RandomFlip", "Nobody"], "Nobody"), ([], "")])
def test_unknown_rows_are_refused(example, names, received):
    with pytest.raises(app.UsageError, match=f"--layers must be some of RandomFlip, .*Received: {received}$"):
        example.chosen_rows(names)


def test_what_cannot_be_written_is_refused(example, tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name, words in {"sheet.txt": "a PNG file", "folder.png": "a file to write"}.items():
        with pytest.raises(app.UsageError, match=f"--output must be {words}. Received: .*{name}"):
            example.prepare_output(tmp_path / name)
    assert example.prepare_output(tmp_path / "new" / "sheet.png").parent.exists()
