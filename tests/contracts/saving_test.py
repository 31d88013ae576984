"""A run that is saved, loaded and continued ends where an uninterrupted one does, to the bit; of the recipes in
`recipes.FAMILIAR`, in the slow run.
"""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_consistency as kc
from tests.contracts import recipes

# Keras's own way to write a variable, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def make(name, *, images=False, run_eagerly=True, **options):
    """A model with all that a run must remember: dropout, random views, an average, momentum, a memory, a mixer."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    network = recipes.student_for(name, images=images, dropout=0.3)
    return recipes.model(name, images=images, network=network, compiled={"run_eagerly": run_eagerly}, **options)


def fit(model, epochs=1, initial_epoch=0, callbacks=()):
    batches = recipes.batches(images=len(model.student.input_shape) == 4)
    return model.fit(
        batches, epochs=epochs, initial_epoch=initial_epoch, verbose=0, shuffle=False, callbacks=[*callbacks]
    ).history


def assert_same_run(model, history, expected_model, expected):
    recipes.assert_equal_state(model, expected_model)
    assert model.optimizer.iterations.numpy() == expected_model.optimizer.iterations.numpy()
    for one, other in zip(model.optimizer.variables, expected_model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert history == {name: values[-len(history["loss"]) :] for name, values in expected.items()}


@pytest.mark.parametrize("name", recipes.COSTLY)
def test_saved_loaded_and_continued(name, tmp_path):
    expected_model = make(name)
    expected = fit(expected_model, epochs=2)

    model = make(name)
    start = recipes.state(model)
    fit(model)
    model.save(tmp_path / "model.keras")
    keras.utils.set_random_seed(77)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is kc.ConsistencyModel
    recipes.assert_equal_state(loaded, model)
    assert all(np.any(a != b) for a, b in zip(start, recipes.state(model), strict=True)), "nothing to restore"
    history = fit(loaded, epochs=2, initial_epoch=1)
    assert_same_run(loaded, history, expected_model, expected)


def test_fixmatch_with_adversarial_consistency_is_saved_loaded_and_continued(tmp_path):
    def build():
        weak = recipes.Noise(stddev=0.1, seed=11, name="weak")
        attack = kc.perturbations.PGD(radius=0.3, steps=2, target="prediction")
        term = kc.Consistency(
            teacher_view=weak, student_view=kc.View(weak, perturbation=attack), scale=0.7, name="adversarial"
        )
        return make("fixmatch", weak=weak, extra_terms=[term])

    expected_model = build()
    expected = fit(expected_model, epochs=2)
    assert min(expected["adversarial_loss"]) > 0
    model = build()
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [*loaded.view_layers] == [*model.view_layers]
    assert_same_run(loaded, fit(loaded, epochs=2, initial_epoch=1), expected_model, expected)


SCRIPT = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras_consistency as kc
import keras, numpy as np
path, = sys.argv[1:]
model = keras.models.load_model(path + "/model.keras")
data = np.load(path + "/data.npz")
batches = kc.data.pair(
    (data["x"], data["y"]), data["u"], batch_size=4, ratio=2, shuffle=False, indexed=True
)
model.fit(batches, verbose=0, shuffle=False)
variables = [*model.student.weights, *model.network.weights, *model.part_state]
np.savez(path + "/end.npz", *[variable.numpy() for variable in variables])
"""


def test_another_process_continues_after_importing_the_package_alone(tmp_path):
    model = make("flexmatch", images=True, run_eagerly=False, strong=kc.augment.image.RandomShift(seed=12))
    fit(model)
    model.save(tmp_path / "model.keras")
    x, y = recipes.examples(recipes.LABELED, images=True)
    u, _ = recipes.examples(recipes.UNLABELED, images=True, seed=1)
    np.savez(tmp_path / "data.npz", x=x, y=y, u=u)
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    fit(model)
    with np.load(tmp_path / "end.npz") as end:
        for a, b in zip(recipes.state(model), end.values(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_model_checkpoint_and_backup_resume_the_run(tmp_path):
    expected_model = make("fixmatch", images=True)
    expected = fit(expected_model, epochs=3)

    model = make("fixmatch", images=True)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    fit(model, epochs=2, callbacks=[checkpoint])
    loaded = keras.models.load_model(tmp_path / "2.keras")
    assert_same_run(loaded, fit(loaded, epochs=3, initial_epoch=2), expected_model, expected)

    class Preempted(Exception):
        pass

    def preempt(epoch, logs):
        if epoch == 2:
            raise Preempted

    first = make("fixmatch", images=True)
    with pytest.raises(Preempted):
        fit(
            first,
            epochs=3,
            callbacks=[
                keras.callbacks.BackupAndRestore(str(tmp_path / "backup")),
                keras.callbacks.LambdaCallback(on_epoch_begin=preempt),
            ],
        )
    again = make("fixmatch", images=True)
    history = fit(again, epochs=3, callbacks=[keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))])
    assert len(history["loss"]) == 1
    assert_same_run(again, history, expected_model, expected)


def test_clone_starts_anew_and_shares_no_variable():
    model = make("flexmatch")
    fit(model)
    clone = type(model).from_config(model.get_config())
    assert not {id(v) for v in clone.variables} & {id(v) for v in model.variables}
    assert clone.name == model.name
    clone.compile(keras.optimizers.SGD(0.1), loss=recipes.LOSS, run_eagerly=True)
    before = recipes.state(model)
    fit(clone)
    for a, b in zip(before, recipes.state(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shared_view_stays_shared(tmp_path):
    weak = recipes.Noise(stddev=0.5, seed=3)
    model = recipes.model("fixmatch", weak=weak, strong=weak, compiled={"run_eagerly": True})
    model.fit(recipes.batches(), verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [*loaded.view_layers] == [weak.name]
    generators = [each for each in loaded.variables if "seed_generator" in each.path]
    assert len(generators) == len([each for each in model.variables if "seed_generator" in each.path])
    logs = [each.train_on_batch(*_batch(), return_dict=True) for each in (model, loaded)]
    # One draw for teacher and student: they agree, and one forward serves both.
    assert logs[0] == logs[1]
    assert logs[1]["consistency_agreement"] == 1.0


def _batch():
    x, y = recipes.examples(4)
    return {"labeled": x, "unlabeled": recipes.examples(8, seed=1)[0]}, y
