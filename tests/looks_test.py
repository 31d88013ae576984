"""What a step looks at, and who learns on what: small students that are no more than a matrix, compared with NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(0)
X, U = (NUMBERS.normal(size=(rows, 4)).astype("float32") for rows in (4, 6))
Y = np.array([0, 2, 1, 1])
KERNEL, OTHER = (NUMBERS.normal(size=(4, 3)).astype("float32") for _ in range(2))
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


UNUSED_OUTPUT = pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")


@keras.saving.register_keras_serializable(package="looks_test")
class Calls(keras.layers.Layer):
    """Passes its inputs on and keeps them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def call(self, inputs):
        self.seen.append(inputs)
        return inputs


def student(*outputs):
    """Logits `x @ KERNEL`, or a dictionary of outputs, whose second is `x @ OTHER`; and its record of calls."""
    calls, inputs = Calls(), keras.Input([4])
    kernels = dict(zip(outputs or ["logits"], (KERNEL, OTHER), strict=False))
    made = {
        name: keras.layers.Dense(3, use_bias=False, kernel_initializer=keras.initializers.Constant(kernel))(
            calls(inputs)
        )
        for name, kernel in kernels.items()
    }
    network = keras.Model(inputs, made if outputs else made["logits"])
    calls.seen.clear()
    return network, calls


def compiled(network, terms, *, loss=SPARSE, rate=0.0, metrics=("accuracy",), **options):
    model = kc.ConsistencyModel(network, terms, **options)
    model.compile(keras.optimizers.SGD(rate), loss=loss, metrics=[*metrics], run_eagerly=True)
    return model


def step(model, y=Y, **options):
    return model.train_on_batch({"labeled": X, "unlabeled": U}, y, return_dict=True, **options)


def cross_entropy_of(x, y=Y, kernel=KERNEL):
    return reference.cross_entropy(np.eye(3)[y], x.astype("float64") @ kernel)


@keras.saving.register_keras_serializable(package="looks_test")
class Half(keras.layers.Layer):
    """Halves its inputs."""

    def call(self, inputs):
        return inputs / 2


# Parts that terms share.


@keras.saving.register_keras_serializable(package="looks_test")
class Fading(kc.parts.Part):
    """A weight of `1 / n` at the `n`-th look."""

    def build(self, classes):
        self.looks = keras.Variable(0.0, trainable=False, name="looks")
        self.variables = (self.looks,)

    def __call__(self, look):
        self.looks.assign_add(1.0)
        return tf.ones([look.examples]) / self.looks.value


def sharing(fading):
    """Two terms with one state: of a weight, and of an alignment."""
    alignment = kc.alignments.DistributionAlignment(momentum=0.5)
    shared = {"alignment": alignment, "weight": fading}
    half = Half(name="half")
    return [
        kc.Consistency(student_view=half, divergence=kc.divergences.CrossEntropy(), **shared),
        kc.Consistency(student_view=half, divergence=kc.divergences.SquaredError(), name="other", **shared),
    ]


def test_part_that_terms_share_moves_once_a_step():
    network, _ = student()
    fading = Fading()
    model = compiled(network, sharing(fading), rate=0.1)
    for number in (1, 2, 3):
        step(model)
        assert float(fading.looks.value) == number
    assert len(model.part_state) == 2


def saved_and_loaded(model, path):
    model.save(path / "model.keras")
    return keras.models.load_model(path / "model.keras")


def cloned(model, path):
    """The model from its configuration, in which nothing is shared."""
    clone = type(model).from_config(model.get_config())
    assert len(clone.part_state) == 2 * len(model.part_state)
    clone.compile(keras.optimizers.SGD(0.5), loss=SPARSE, metrics=["accuracy"], run_eagerly=True)
    return clone


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("again", "steps"), [(saved_and_loaded, 2), (cloned, 0)])
def test_copies_of_shared_parts_go_on_as_the_shared_ones(again, steps, tmp_path):
    model = compiled(student()[0], sharing(Fading()), rate=0.5)
    for _ in range(steps):
        step(model)
    other = again(model, tmp_path)
    for _ in range(3):
        assert step(model) == step(other)
    np.testing.assert_array_equal(model.student.get_weights(), other.student.get_weights())
    for term in other.terms:
        assert float(term.weight.looks.value) == steps + 3
        np.testing.assert_array_equal(term.alignment.mean.numpy(), model.terms[0].alignment.mean.numpy())


# Alignments.


class Powered(kc.alignments.Alignment):
    """Raises each probability to a power."""

    def __init__(self, power, applies_to="both"):
        self.power = power
        self.applies_to = applies_to

    def __call__(self, look):
        return look.logits * self.power


class First(kc.alignments.Alignment):
    """Adds to the logit of the first class."""

    def __init__(self, addend):
        self.addend = addend

    def __call__(self, look):
        return look.logits + self.addend * tf.eye(3)[0]


def seen_by_parts(alignment):
    """The probabilities of the unlabelled examples that target and weight see."""
    seen = {}

    class Target(kc.targets.Soft):
        def __call__(self, look):
            seen["target"] = look.probabilities.numpy()
            return super().__call__(look)

    class Weight(kc.weights.Confidence):
        def __call__(self, look):
            seen["weight"] = look.probabilities.numpy()
            return super().__call__(look)

    term = kc.Consistency(target=Target(), weight=Weight(threshold=0.5), alignment=alignment)
    step(compiled(student()[0], term))
    return seen["target"], seen["weight"]


@pytest.mark.parametrize(("applies_to", "powers"), [("both", (3, 3)), ("target", (3, 1)), ("weight", (1, 3))])
def test_alignment_applies_to_whom_it_says(applies_to, powers):
    for found, power in zip(seen_by_parts(Powered(3.0, applies_to)), powers, strict=True):
        np.testing.assert_allclose(found, reference.softmax(power * (U.astype("float64") @ KERNEL)), rtol=1e-4)


def test_alignments_apply_in_turn():
    logits = U.astype("float64") @ KERNEL
    for alignments, expected in (
        ([First(1.0), Powered(2.0)], 2 * (logits + np.eye(3)[0])),
        ([Powered(2.0), First(1.0)], 2 * logits + np.eye(3)[0]),
    ):
        for found in seen_by_parts(alignments):
            np.testing.assert_allclose(found, reference.softmax(expected), rtol=1e-4)


def test_alignments_of_different_readers_are_refused():
    with pytest.raises(ValueError, match="`alignment` must be parts with one `applies_to`.*Received: alignment="):
        kc.Consistency(alignment=[First(1.0), Powered(2.0, "weight")])


# Labelled examples.


@pytest.mark.parametrize("weight", [None, np.array([1.0, 0.0, 3.0, 0.5], "float32")])
def test_supervised_loss_and_metrics_are_means_over_the_labelled_views(weight):
    network, calls = student()
    model = compiled(network, kc.Consistency(), labeled_view=[None, Half(name="half")])
    logs = step(model, sample_weight=weight)
    views = [X, X / 2, -X]
    losses = [np.mean(cross_entropy_of(view) * (1 if weight is None else weight)) for view in views]
    assert logs["supervised_loss"] == pytest.approx(np.mean(losses[:2]), rel=1e-5)
    model = compiled(student()[0], kc.Consistency(), labeled_view=[None, keras.layers.Rescaling(-1.0, name="minus")])
    logs = step(model, sample_weight=weight)
    assert logs["supervised_loss"] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-5)
    right = [np.mean((view @ KERNEL).argmax(-1) == Y) for view in (X, -X)]
    assert right[0] != right[1]
    assert logs["accuracy"] == pytest.approx(np.mean(right))
    np.testing.assert_array_equal(calls.seen[-1][4:8], X / 2)


class Labelled(kc.parts.Part):
    """A weight that keeps what it is shown of the labelled examples."""

    requires = ("labeled",)
    seen = None

    def __call__(self, look):
        self.seen = look.labeled, look.labeled_labels
        return tf.ones([look.examples])


@pytest.mark.parametrize(
    ("teacher", "view", "forwards"),
    [(kc.teachers.Self, None, 1), (kc.teachers.Self, Half, 2), (lambda: kc.teachers.Self(training=False), None, 2)],
)
def test_labelled_answers_are_those_of_the_students_own_forward_where_it_makes_one(teacher, view, forwards):
    network, calls = student()
    weight, half = Labelled(), Half(name="half")
    term = kc.Consistency(teacher_view=view and half, weight=weight)
    step(compiled(network, term, teacher=teacher(), labeled_view=half))
    assert len(calls.seen) == forwards
    answer, of_labeled = weight.seen
    np.testing.assert_allclose(answer.logits, X / 2 @ KERNEL, rtol=1e-5)
    np.testing.assert_allclose(answer.probabilities, tf.nn.softmax(answer.logits), rtol=1e-6)
    np.testing.assert_array_equal(of_labeled, np.eye(3)[Y])


def test_known_targets_need_no_forward_of_the_teacher():
    network, calls = student()
    term = kc.Consistency(
        student_view=Half(name="half"),
        pool="labeled",
        target=kc.targets.Label(),
        divergence=kc.divergences.CrossEntropy(),
    )
    logs = step(compiled(network, term, teacher=kc.teachers.Self(training=False)))
    assert len(calls.seen) == 1
    assert logs["consistency_loss"] == pytest.approx(cross_entropy_of(X / 2).mean(), rel=1e-5)
    assert logs["consistency_mask_rate"] == 1.0


# Students of several outputs.


@UNUSED_OUTPUT
def test_prediction_of_several_outputs_is_fitted_evaluated_and_predicted_with_plain_labels():
    network, _ = student("logits", "other")
    term = kc.Consistency(output="logits", student_view=Half(name="half"))
    model = compiled(network, term, teacher=kc.teachers.EMA(decay=0.5), prediction="logits", rate=0.1)
    logs = model.fit({"labeled": X, "unlabeled": U[:4]}, Y, batch_size=4, verbose=0).history
    assert logs["supervised_loss"] == pytest.approx([cross_entropy_of(X).mean()], rel=1e-5)
    answer = model.network(X)["logits"].numpy()
    assert np.abs(answer - X @ KERNEL).max() > 1e-3
    np.testing.assert_allclose(model.predict(X, verbose=0), answer, atol=1e-6)
    np.testing.assert_allclose(model(X), answer, atol=1e-6)
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert found == pytest.approx({"loss": float(SPARSE(Y, answer)), "accuracy": np.mean(answer.argmax(-1) == Y)})


def test_student_may_answer_with_another_output_than_the_teacher():
    network, _ = student("logits", "other")
    term = kc.Consistency(
        output="logits",
        student_output="other",
        student_view=Half(name="half"),
        target=kc.targets.Prediction(),
        divergence=kc.divergences.SquaredDistance(),
    )
    logs = step(compiled(network, term, prediction="logits"))
    expected = np.mean((U @ KERNEL - U / 2 @ OTHER) ** 2)
    assert logs["consistency_loss"] == pytest.approx(expected, rel=1e-4)
    assert "consistency_agreement" not in logs, "classes of one output are not those of another"


@UNUSED_OUTPUT
def test_perturbations_change_the_prediction_of_several_outputs():
    network, calls = student("other", "logits")
    seen = []

    class Spy(kc.perturbations.VAT):
        def __call__(self, inputs, logits, *, seed):
            seen.append(logits(inputs))
            return super().__call__(inputs, logits, seed=seed)

    term = kc.Consistency(output="logits", student_view=kc.View(perturbation=Spy(radius=0.5)))
    logs = step(compiled(network, term, prediction="logits"))
    np.testing.assert_allclose(seen[0], U @ OTHER, rtol=1e-4, atol=1e-5)
    assert logs["consistency_loss"] > 0
    np.testing.assert_allclose(np.linalg.norm(calls.seen[-1][4:] - U, axis=-1), 0.5, rtol=1e-4)
    with pytest.raises(ValueError, match="`prediction` must name the output that perturbations are to change"):
        compiled(student("other", "logits")[0], term)


def test_view_that_is_perturbed_inside_is_made_once_for_terms_and_labels():
    made = []

    class Spy(kc.perturbations.GaussianNoise):
        def __call__(self, inputs, function=None, *, seed=None):
            made.append(inputs)
            return super().__call__(inputs, function, seed=seed)

    calls, hidden = Calls(), keras.layers.Identity(name="hidden")
    kernel = keras.initializers.Constant(KERNEL)
    last = keras.layers.Dense(3, use_bias=False, kernel_initializer=kernel)
    network = keras.Sequential([keras.Input([4]), hidden, calls, last])
    calls.seen.clear()
    view = kc.View(perturbation=Spy(stddev=0.5), at="hidden")
    between = kc.divergences.Between(kc.divergences.SquaredDistance())
    terms = [
        kc.Consistency(student_view=view, target=kc.targets.Prediction(), divergence=kc.divergences.SquaredDistance()),
        kc.Consistency(student_view=[None, view], divergence=between, name="between"),
    ]
    logs = step(compiled(network, terms, labeled_view=[view, None]))
    np.testing.assert_array_equal([len(each) for each in made], [4, 6])
    assert [len(each) for each in calls.seen] == [4, 6, 20], "each view once, in one forward, after what is to be moved"
    moved, plain, u, moved_u = np.split(calls.seen[-1].numpy(), [4, 8, 14])
    np.testing.assert_allclose(plain, X, rtol=1e-6)
    assert 0.2 < np.std(moved - X) < 1.0
    assert logs["supervised_loss"] == pytest.approx(np.mean([cross_entropy_of(moved), cross_entropy_of(X)]), rel=1e-5)
    expected = np.mean(((u - moved_u) @ KERNEL) ** 2)
    assert logs["consistency_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["between_loss"] == pytest.approx(expected, rel=1e-4)


# Mixers.


class Doubled(kc.mixers.Mixer):
    """No mixture, but seen at once: twice the inputs, and the targets of the next class."""

    def __init__(self, *, labeled=True):
        self.labeled = labeled

    def __call__(self, inputs, targets, *, seed):
        return [2 * each for each in inputs], [tf.roll(each, 1, axis=-1) for each in targets]


@pytest.mark.parametrize("labeled", [True, False])
def test_mixer_mixes_what_is_to_be_mixed(labeled):
    options = {"target": kc.targets.Hard(), "divergence": kc.divergences.CrossEntropy()}
    terms = [kc.Consistency(name="mixed", **options), kc.Consistency(mixed=False, name="unmixed", **options)]
    logs = step(compiled(student()[0], terms, mixer=Doubled(labeled=labeled)))
    target = (U @ KERNEL).argmax(-1)
    assert logs["mixed_loss"] == pytest.approx(cross_entropy_of(2 * U, (target + 1) % 3).mean(), rel=1e-5)
    assert logs["unmixed_loss"] == pytest.approx(cross_entropy_of(U, target).mean(), rel=1e-5)
    supervised = cross_entropy_of(2 * X, (Y + 1) % 3) if labeled else cross_entropy_of(X)
    assert logs["supervised_loss"] == pytest.approx(supervised.mean(), rel=1e-5)


def test_labels_that_are_not_mixed_may_have_any_loss():
    """A mixer that leaves labelled examples alone needs no probabilities of them."""
    mixer = kc.mixers.MixUp(alpha=0.5, labeled=False)
    model = compiled(student()[0], kc.Consistency(), mixer=mixer, loss="mse", metrics=())
    y = NUMBERS.normal(size=(4, 3)).astype("float32")
    assert step(model, y)["supervised_loss"] == pytest.approx(np.mean((X @ KERNEL - y) ** 2), rel=1e-5)
