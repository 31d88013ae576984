import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.clipping import install
from tests.contracts import recipes
from tests.contracts.replicas_test import strategy_of

NUMBERS = np.random.default_rng(0)
SHAPES = [(4, 2), (3,), (2, 2, 3, 2)]
STEPS = 5
# [steps, halves of a gradient, variables]: what two replicas find, whose sum is long.
HALVES = [[[NUMBERS.normal(scale=s, size=shape) for shape in SHAPES] for _ in range(2)] for s in (3, 1, 9, 4, 2)]
WEIGHTS = [NUMBERS.normal(size=shape) for shape in SHAPES]


def total(step):
    return [a + b for a, b in zip(*HALVES[step], strict=True)]


def norm(gradients):
    return np.sqrt(sum((g**2).sum() for g in gradients))


def by_global_norm(gradients, bound):
    return [g * min(1, bound / norm(gradients)) for g in gradients]


def units(value):
    axes = tuple(range(value.ndim - 1)) or None
    return np.sqrt((value**2).sum(axis=axes, keepdims=True))


def adaptive(gradients, weights, bound):
    return [
        g * np.minimum(1, bound * np.maximum(units(w), 1e-3) / units(g))
        for g, w in zip(gradients, weights, strict=True)
    ]


def expected(kind, bound, history=1000):
    """The clipped sums of every step, and the weights after SGD at a rate of 0.01, in float64."""
    weights, norms, found = [w.copy() for w in WEIGHTS], [], []
    for step in range(STEPS):
        g = total(step)
        norms.append(norm(g))
        g = {
            "clipnorm": lambda g=g: [each * min(1, bound / np.linalg.norm(each)) for each in g],
            "global_clipnorm": lambda g=g: by_global_norm(g, bound),
            "clipvalue": lambda g=g: [np.clip(each, -bound, bound) for each in g],
            "adaptive": lambda g=g, weights=weights: adaptive(g, weights, bound),
            "percentile": lambda g=g: by_global_norm(g, np.percentile(norms[-history:], bound)),
        }[kind]()
        found.append(g)
        weights = [w - 0.01 * each for w, each in zip(weights, g, strict=True)]
    return found, weights


def trained(clipping, *, replicas, scaled=False, accumulated=1, optimizer=None):
    """Weights after all steps: of one replica, that finds the sum, or of two, that find halves."""
    with strategy_of(replicas).scope():
        variables = [keras.Variable(w.astype("float32")) for w in WEIGHTS]
        steps = None if accumulated == 1 else accumulated
        inner = optimizer or keras.optimizers.SGD(0.01, gradient_accumulation_steps=steps)
        used = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**10) if scaled else inner
        used.build(variables)
        if clipping is not None:
            clipping.build()
        install(clipping, used)

    # [steps, halves, ...] of each variable
    halves = [np.array([[half[i] for half in step] for step in HALVES], "float32") for i in range(len(SHAPES))]

    def step(number):
        if replicas == 1:
            found = [tf.reduce_sum(tf.gather(each, number), axis=0) for each in halves]
        else:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            found = [tf.gather(tf.gather(each, number), replica) for each in halves]
        used.apply_gradients(zip([used.scale_loss(g) for g in found], variables, strict=True))

    run = tf.function(lambda number: strategy_of(replicas).run(step, args=(number,)))
    for number in np.repeat(np.arange(STEPS), accumulated):
        run(tf.constant(number))
    return [variable.numpy() for variable in variables]


CASES = [
    ("clipnorm", 2.0),
    ("global_clipnorm", 3.0),
    ("global_clipnorm", 1e4),
    ("clipvalue", 0.7),
    ("adaptive", 0.1),
    ("percentile", 30.0),
]


@pytest.mark.parametrize(("kind", "bound"), CASES)
@pytest.mark.parametrize("replicas", [1, 2])
def test_what_is_applied_is_the_clipped_sum(kind, bound, replicas):
    clipping = kc.Clipping(**{kind: bound})
    found = trained(clipping, replicas=replicas)
    clipped, weights = expected(kind, bound)
    for ours, theirs in zip(found, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    logs = {metric.name: metric.result().numpy() for metric in clipping.metrics}
    before, after = [norm(total(step)) for step in range(STEPS)], [norm(g) for g in clipped]
    np.testing.assert_allclose(logs["gradient_norm"], np.mean(before), rtol=1e-5)
    np.testing.assert_allclose(logs["clipped_gradient_norm"], np.mean(after), rtol=1e-5)
    assert logs["clip_rate"] == pytest.approx(np.mean(np.array(after) < np.array(before) * (1 - 1e-6)))


def test_percentile_of_the_last_steps_only():
    found = trained(kc.Clipping(percentile=40.0, history=3), replicas=1)
    for ours, theirs in zip(found, expected("percentile", 40.0, history=3)[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize(("kind", "bound"), [("global_clipnorm", 3.0), ("adaptive", 0.1), ("percentile", 30.0)])
@pytest.mark.parametrize("options", [{"scaled": True}, {"accumulated": 2}, {"scaled": True, "accumulated": 3}])
def test_mixed_precision_and_accumulation_clip_alike(kind, bound, options):
    found = trained(kc.Clipping(**{kind: bound}), replicas=1, **options)
    for ours, theirs in zip(found, expected(kind, bound)[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-6)


def test_loss_scale_on_two_replicas():
    found = trained(kc.Clipping(global_clipnorm=3.0), replicas=2, scaled=True)
    for ours, theirs in zip(found, expected("global_clipnorm", 3.0)[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-6)


@pytest.mark.parametrize(("kind", "bound"), [case for case in CASES if case[0] in ("clipnorm", "global_clipnorm")])
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_optimizer_that_clips_clips_the_sum(kind, bound, replicas):
    found = trained(None, replicas=replicas, optimizer=keras.optimizers.SGD(0.01, **{kind: bound}))
    for ours, theirs in zip(found, expected(kind, bound)[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_keras_alone_applies_another_gradient(monkeypatch):
    # Else the tests above would hold for a function that does nothing.
    monkeypatch.setattr("tests.clipping_test.install", lambda *_: None)
    found = trained(None, replicas=2, optimizer=keras.optimizers.SGD(0.01, global_clipnorm=3.0))
    differences = zip(found, expected("global_clipnorm", 3.0)[1], strict=True)
    assert max(np.abs(a - b).max() for a, b in differences) > 0.01


def test_rows_that_occur_twice_are_added_up_before_a_norm_is_taken():
    rows = tf.IndexedSlices(tf.ones([2, 1]), tf.constant([1, 1]), dense_shape=tf.constant([3, 1]))
    clipping = kc.Clipping(global_clipnorm=1.0)
    clipping.build()
    np.testing.assert_allclose(clipping([rows], [None])[0], [[0.0], [1.0], [0.0]])
    assert clipping.metrics[0].result() == 2.0


def test_norm_that_is_not_finite_leaves_no_trace_in_the_percentile():
    clipping = kc.Clipping(percentile=50.0, history=4)
    clipping.build()
    for value in (1.0, np.nan, 3.0, np.inf):
        clipping([tf.constant([value])], [None])
    assert clipping.steps.numpy() == 2
    np.testing.assert_allclose(clipping([tf.constant([8.0])], [None])[0], [3.0])


def fit(model, callbacks=(), epochs=1, **options):
    x, y = recipes.examples(16)
    return model.fit(50 * x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options)


def plain(**options):
    network = recipes.student()
    network.compile(keras.optimizers.SGD(0.01, **options), loss=recipes.LOSS)
    return network


def test_callback_clips_any_keras_model_and_logs():
    reference = plain(global_clipnorm=0.5)
    fit(reference)
    model, callback = plain(), kc.callbacks.GradientClipping(global_clipnorm=0.5)
    history = fit(model, [callback]).history
    for ours, theirs in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert history["gradient_norm"][0] > 0.5 and history["clipped_gradient_norm"][0] == pytest.approx(0.5, rel=1e-5)
    assert history["clip_rate"] == [1.0]


def test_callback_ends_with_training_and_acts_on_a_model_that_was_trained_before():
    model, reference = plain(), plain()
    fit(model), fit(reference)
    before = model.get_weights()
    history = fit(model, [kc.callbacks.GradientClipping(clipvalue=1e-9)]).history
    assert history["clip_rate"] == [1.0]
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    model.set_weights(reference.get_weights())
    fit(model), fit(reference)
    for ours, theirs in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bound_changes_without_a_retrace():
    traces = []

    class Traced(keras.Sequential):
        def train_step(self, data):
            traces.append(1)
            return super().train_step(data)

    model = Traced(recipes.student().layers)
    model.compile(keras.optimizers.SGD(0.01), loss=recipes.LOSS)
    callback = kc.callbacks.GradientClipping(global_clipnorm=0.5)
    change = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: callback.clipping.bound.assign(0.25))
    history = fit(model, [callback, change], epochs=2).history
    np.testing.assert_allclose(history["clipped_gradient_norm"], [0.5, 0.25], rtol=1e-5)
    assert len(traces) == 1


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_model_argument_equals_the_callback_and_is_saved(tmp_path):
    def made(**options):
        model = kc.ConsistencyModel(recipes.student(), [], **options)
        model.compile(keras.optimizers.SGD(0.01), loss=recipes.LOSS)
        return model

    model, other = made(clipping=kc.Clipping(percentile=20.0, history=6)), made()
    logs = fit(model).history
    expected_logs = fit(other, [kc.callbacks.GradientClipping(percentile=20.0, history=6)]).history
    recipes.assert_equal_state(model, model)
    for ours, theirs in zip(model.student.get_weights(), other.student.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("gradient_norm", "clipped_gradient_norm", "clip_rate"):
        np.testing.assert_allclose(logs[name], expected_logs[name], rtol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fit(model), fit(loaded)
    recipes.assert_equal_state(model, loaded)
    np.testing.assert_array_equal(model.clipping.norms, loaded.clipping.norms)


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}])
def test_however_the_step_runs(options):
    histories = []
    for each in ({}, options):
        model = kc.ConsistencyModel(recipes.student(), [], clipping=kc.Clipping(adaptive=0.01))
        model.compile(keras.optimizers.SGD(0.01), loss=recipes.LOSS, **each)
        histories.append(fit(model).history)
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"exactly one of \['clipnorm'.*Received: None"),
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "exactly one of.*Received: {'clipnorm': 1.0, 'clipvalue': 1.0}"),
        ({"clipnorm": 0}, r"`clipnorm` must be a number in \(0, inf\)"),
        ({"global_clipnorm": -1.0}, "`global_clipnorm`"),
        ({"clipvalue": float("nan")}, "`clipvalue`"),
        ({"adaptive": "1"}, "`adaptive`"),
        ({"percentile": 100}, r"`percentile` must be a number in \(0, 100\)"),
        ({"percentile": 10, "history": 0}, "`history` must be an integer of at least 1"),
    ],
)
def test_arguments_outside_their_range(arguments, message):
    for make in (kc.Clipping, kc.callbacks.GradientClipping):
        with pytest.raises(ValueError, match=message):
            make(**arguments)


def test_two_that_clip_are_refused():
    one, two = (kc.callbacks.GradientClipping(clipnorm=bound) for bound in (1.0, 2.0))
    with pytest.raises(ValueError, match="Two callbacks clip.*leave out one.*Received"):
        fit(plain(), [one, two])
    with pytest.raises(ValueError, match="The optimizer clips already, with {'clipvalue': 0.5}"):
        fit(plain(clipvalue=0.5), [kc.callbacks.GradientClipping(clipnorm=1.0)])
    model = kc.ConsistencyModel(recipes.student(), [], clipping=kc.Clipping(clipnorm=1.0))
    model.compile("sgd", loss=recipes.LOSS)
    with pytest.raises(ValueError, match="The model clips gradients itself"):
        fit(model, [one])
    model.compile(keras.optimizers.SGD(clipvalue=0.5), loss=recipes.LOSS)
    with pytest.raises(ValueError, match="The optimizer clips already"):
        fit(model)


def test_after_a_refusal_the_model_trains():
    model, one = plain(), kc.callbacks.GradientClipping(global_clipnorm=0.5)
    with pytest.raises(ValueError, match="Two callbacks"):
        fit(model, [one, kc.callbacks.GradientClipping(global_clipnorm=0.1)])
    assert fit(model, [one]).history["clipped_gradient_norm"][0] == pytest.approx(0.5, rel=1e-5)


def test_what_is_no_clipping_is_refused():
    with pytest.raises(TypeError, match="`clipping` must be a `kc.Clipping` or None. Received: clipping=1.0"):
        kc.ConsistencyModel(recipes.student(), [], clipping=1.0)
    used = kc.Clipping(clipnorm=1.0)
    kc.ConsistencyModel(recipes.student(), [], clipping=used)
    with pytest.raises(ValueError, match="belongs to one model"):
        kc.ConsistencyModel(recipes.student(), [], clipping=used)
