"""What the image example promises on forty labels."""

import pytest

import keras_consistency as kc

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow-datasets' dependencies, on import


@pytest.mark.slow
def test_fixmatch_is_well_above_supervised_training_on_forty_labels():
    from examples import train_image  # late: its imports may warn

    train_data, test_data = kc.datasets.load("mnist5k")
    budget = {"labels": 40, "steps": 1500, "batch_size": 32, "ratio": 3, "learning_rate": 4e-3, "verbose": 0}
    _, supervised = train_image.train(None, train_data, test_data, **budget)
    _, fixmatch = train_image.train("fixmatch", train_data, test_data, **budget)
    assert fixmatch["accuracy"] >= 0.96
    assert fixmatch["accuracy"] >= supervised["accuracy"] + 0.15
