"""The model: a step looks, then learns. It orchestrates the parts and knows no algorithm."""

import contextlib

import keras
import tensorflow as tf

from keras_consistency import _compat, checks, gradients, labels
from keras_consistency.batch import Batch, Streams
from keras_consistency.forwards import Concatenated
from keras_consistency.ops import random, replicas
from keras_consistency.ops.require import as_value_errors
from keras_consistency.schedules import value_at
from keras_consistency.teachers import Self
from keras_consistency.views import as_views


@keras.saving.register_keras_serializable(package="keras_consistency")
class ConsistencyModel(keras.Model):
    """Trains a student on labels and on agreeing with a teacher.

    Compile and fit it like any Keras model. Each step first *looks*: the teacher answers on its views, which gives
    targets and weights, without gradient. Then the student *learns*: one forward over labelled examples and student
    views, the supervised loss plus every term, one optimizer step, and the teacher follows.

    `evaluate`, `predict`, calling the model and `export` use the teacher's network where it has weights of its own that
    follow the student (`kc.teachers.EMA`), else the student.

    Args:
        student: a built `keras.Model` that returns logits `(examples, classes)`, or a dictionary of outputs.
        terms: a `kc.Consistency` or a list of them; their losses add up.
        teacher: part of `kc.teachers`. `None` is `kc.teachers.Self()`.
        mixer: part of `kc.mixers` that combines labelled and unlabelled examples once their targets exist, or `None`.
        labeled_view: what the student is shown of the labelled examples: a layer, a `kc.View`, or `None` for as they
            came.
        labeled_weight: a weight of the supervised loss per example, such as `kc.weights.SignalAnnealing`, or `None`.
        forward: part of `kc.forwards`: how the step's batches share a forward. `None` is `Concatenated()`.
        seed: of the mixer's and the perturbations' random draws.

    Input shape:
        Batches `({"labeled": x, "unlabeled": u}, y)`, with `sample_weight` or without, or plain `(x, y)` when every
        example has a label. See `kc.data.pair`.

    Metrics:
        `loss` (total), `supervised_loss` (compiled loss and regularisation), the compiled metrics of the student on the
        labelled examples, and for each term `{name}_loss` (unscaled), `{name}_mask_rate` (share of examples with a
        weight above 0) and `{name}_agreement` (share of examples where the student's class is the target's).

    Raises:
        ValueError: for an unbuilt student, one that ends in a softmax, or a teacher with other outputs.
    """

    def __init__(
        self,
        student,
        terms,
        *,
        teacher=None,
        mixer=None,
        labeled_view=None,
        labeled_weight=None,
        forward=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        checks.student(student)
        self.student = student
        self.terms = list(terms) if isinstance(terms, (list, tuple)) else [terms]
        self.mixer = mixer
        checks.part("mixer", mixer)
        checks.part("forward", forward)
        checks.part("labeled_weight", labeled_weight)
        checks.one_view("labeled_view", labeled_view)
        checks.terms(self.terms, mixer)
        self.teacher = Self() if teacher is None else teacher
        checks.teacher(self.teacher)
        self.teacher.attach(student)
        checks.same_outputs(student, self.teacher.network)
        checks.logits("teacher", self.teacher.network)
        self.labeled_view = labeled_view
        self.labeled_weight = labeled_weight
        self.forward = Concatenated() if forward is None else forward
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.classes = checks.classes(student)

        (self._labeled,) = as_views(labeled_view)
        self.view_layers = checks.view_layers(
            [self._labeled, *(view for term in self.terms for view in (*term.teacher_views, *term.student_views))]
        )
        parts = {id(part): (part, term) for term in self.terms for part in term.parts}
        self.part_state = []
        for part, term in parts.values():
            checks.unused(part)
            part.build(checks.classes(student, term))
            self.part_state += part.variables
        names = ["supervised_loss", *(name for term in self.terms for name in term.metric_names)]
        self.training_metrics = {name: keras.metrics.Mean(name=name) for name in names}
        self._evaluating = False
        self.built = True

    @property
    def network(self):
        """The network that the user was promised: what `evaluate`, `predict` and `export` read."""
        return self.teacher.network if self.teacher.serves else self.student

    def call(self, inputs, training=False):
        if isinstance(inputs, dict) and "labeled" in inputs:
            inputs = inputs["labeled"]
        return self.network(inputs, training=training)

    @property
    def losses(self):
        """The student's regularisation; the teacher's copy of it does not count."""
        return self.student.losses

    def train_step(self, data):
        """Looks, then learns, from one batch; returns the metrics."""
        batch = Batch(data, [key for term in self.terms for key in term.requires])
        step = tf.identity(self.optimizer.iterations)
        seed = self.seed_generator.next()
        streams = Streams(batch, self.view_layers, self._infer, seed)

        verdicts = self._look(streams, step)
        with tf.GradientTape() as tape:
            loss, y_pred = self._learn(streams, verdicts, step, seed)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.student.trainable_variables
        gradient = gradients.clip_over_replicas(self.optimizer, tape.gradient(scaled, variables))
        self.optimizer.apply_gradients(zip(gradient, variables, strict=True))
        done = tf.identity(self.optimizer.iterations)
        self.teacher.update(self.student, done, applied=done > step)

        x = batch.inputs("labeled")
        _compat.track_loss(self, loss * replicas.count(), keras.tree.flatten(x)[0])
        return self.compute_metrics(x, batch.labels, y_pred, sample_weight=batch.sample_weight)

    def _look(self, streams, step):
        """Stage 1: the verdicts, by term, of a teacher that has to be asked."""
        if self.mixer is None and self.teacher.learns:
            # Where the student learns on what the teacher would be asked, its answer comes with the second stage.
            answered = {stream for role in self._roles(streams).values() for stream in role}
        else:
            answered = set()
        asked = {term.name: term for term in self.terms if not answered.issuperset(term.teacher_streams(streams))}
        questions = {stream: None for term in asked.values() for stream in term.teacher_streams(streams)}
        answers = self.forward(self._ask, {stream: streams[stream] for stream in questions}) if asked else {}
        return {name: term.judge(answers, streams, step) for name, term in asked.items()}

    def _learn(self, streams, verdicts, step, seed):
        """Stage 2: this replica's share of the global loss, and the student's answer on the labelled examples."""
        roles = self._roles(streams)
        y = labels.checked(streams.batch.labels, self.classes)
        if self.mixer is not None:
            inputs, y, verdicts = self._mix(roles, y, streams, verdicts, seed)
            answers = self.forward(self._train, inputs)
        else:
            answers = self.forward(self._train, {stream: streams[stream] for role in roles.values() for stream in role})
            late = [term for term in self.terms if term.name not in verdicts]
            verdicts |= {term.name: term.judge(answers, streams, step) for term in late}
            answers = {role: _join([answers[stream] for stream in parts]) for role, parts in roles.items()}

        y_pred = answers["labeled"]
        loss = self._supervised_loss(streams.batch, y, y_pred, step)
        self.training_metrics["supervised_loss"].update_state(loss * replicas.count())
        for term in self.terms:
            verdict = verdicts[term.name]
            logits = [term.logits(answers[role]) for role in self._term_roles(term)]
            term_loss = term.loss(verdict, logits)
            loss += value_at(term.scale, step) / replicas.count() * term_loss
            values = [term_loss, *term.statistics(verdict, logits)]
            for name, value in zip(term.metric_names, values, strict=True):
                self.training_metrics[name].update_state(value)
        return loss, y_pred

    def _roles(self, streams):
        """What the student learns on: streams by role, `"labeled"` or a term's name and view number."""
        roles = {"labeled": streams.of("labeled", self._labeled)}
        for term in self.terms:
            roles.update(zip(self._term_roles(term), term.student_streams(streams), strict=True))
        return roles

    def _term_roles(self, term):
        return [(term.name, number) for number in range(len(term.student_views))]

    def _mix(self, roles, y, streams, verdicts, seed):
        """Mixes what every role is to learn, each with its target: inputs by role, labels and verdicts."""
        targets = {"labeled": labels.as_probabilities(y, self.classes)}
        for term in self.terms:
            if term.name in verdicts:
                targets.update(zip(self._term_roles(term), verdicts[term.name].targets, strict=True))
        inputs = {role: streams[stream] for role, (stream,) in roles.items()}
        mixed = self.mixer([inputs[role] for role in targets], list(targets.values()), seed=random.fold(seed, -1))
        inputs |= zip(targets, mixed[0], strict=True)
        targets = dict(zip(targets, mixed[1], strict=True))
        verdicts = {
            term.name: verdicts[term.name]._replace(targets=[targets[role] for role in self._term_roles(term)])
            if term.name in verdicts
            else None
            for term in self.terms
        }
        return inputs, targets["labeled"], verdicts

    def _supervised_loss(self, batch, y, y_pred, step):
        """The compiled loss and the regularisation, scaled for the replicas."""
        sample_weight = batch.sample_weight
        if self.labeled_weight is not None:
            weight = self.labeled_weight(
                labels.as_probabilities(y, self.classes), tf.stop_gradient(tf.cast(y_pred, tf.float32)), step
            )
            sample_weight = weight if sample_weight is None else weight * tf.cast(sample_weight, tf.float32)
        x = batch.inputs("labeled")
        if self.mixer is None:
            return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        loss = labels.loss_on_probabilities(self.loss)(y, y_pred, sample_weight)
        return loss + tf.add_n([0.0, *self.losses]) / replicas.count()

    def _ask(self, inputs):
        return self.teacher.look(self.student, inputs)

    def _train(self, inputs):
        return self.student(inputs, training=True)

    def _infer(self, inputs):
        return self.student(inputs, training=False)

    # What Keras does, with this model's network, errors and state.

    def fit(self, *args, **kwargs):
        """As in Keras; a value that a step refuses is a `ValueError`."""
        with as_value_errors():
            return super().fit(*args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """As in Keras; a value that the step refuses is a `ValueError`."""
        with as_value_errors():
            return super().train_on_batch(*args, **kwargs)

    def test_step(self, data):
        """As in Keras, on `network`."""
        with self._evaluation():
            return super().test_step(data)

    def evaluate(self, *args, **kwargs):
        """As in Keras, on `network`, without the metrics of training."""
        with self._evaluation():
            return super().evaluate(*args, **kwargs)

    @contextlib.contextmanager
    def _evaluation(self):
        before, self._evaluating = self._evaluating, True
        try:
            yield
        finally:
            self._evaluating = before

    @property
    def metrics(self):
        """The loss, the compiled metrics, and those of training except during an evaluation."""
        hidden = {id(metric) for metric in self.training_metrics.values()} if self._evaluating else ()
        return [metric for metric in super().metrics if id(metric) not in hidden]

    def export(self, filepath, **kwargs):
        """Writes a SavedModel of `network` for serving, as `keras.Model.export` does, with nothing of the training in
        it.

        Args:
            filepath: directory to write.
            **kwargs: as in `keras.Model.export`.
        """
        return self.network.export(filepath, **kwargs)

    def save_own_variables(self, store):
        """Adds the state of every random generator, without which a resumed run would draw other numbers."""
        super().save_own_variables(store)
        for number, state in enumerate(self._generator_states()):
            store[f"generator_{number}"] = state.numpy()

    def load_own_variables(self, store):
        """Restores what `save_own_variables` wrote."""
        super().load_own_variables({key: store[key] for key in store.keys() if not key.startswith("generator_")})
        for number, state in enumerate(self._generator_states()):
            state.assign(store[f"generator_{number}"])

    def _generator_states(self):
        known = {id(variable) for variable in (*self.weights, *self.metrics_variables)}
        return [variable for variable in self.variables if id(variable) not in known]

    def get_config(self):
        names = ("student", "terms", "teacher", "mixer", "labeled_view", "labeled_weight", "forward", "seed", "name")
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config):
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def _join(outputs):
    if len(outputs) == 1:
        return outputs[0]
    return keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *outputs)
