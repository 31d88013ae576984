"""The model: a step looks, then learns. It orchestrates the parts and knows no algorithm."""

import keras
import tensorflow as tf

from keras_consistency import _compat, checks, clipping, embeddings, labels
from keras_consistency.batch import Batch, Streams
from keras_consistency.forwards import Concatenated
from keras_consistency.looks import Looks
from keras_consistency.ops import random, replicas
from keras_consistency.schedules import value_at
from keras_consistency.serving import ServingModel
from keras_consistency.teachers import Self


@keras.saving.register_keras_serializable(package="keras_consistency")
class ConsistencyModel(ServingModel):
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
        mixer: part of `kc.mixers` that combines examples once their targets exist, or `None`.
        labeled_view: what the student is shown of the labelled examples: a layer, a `kc.View`, `None` for as they came,
            or a list of these, over which the supervised loss is averaged.
        labeled_scale: factor of the supervised loss on each of several labelled views, a list of numbers; `None` for
            equal ones that add up to 1.
        labeled_weight: a weight of the supervised loss per example, such as `kc.weights.SignalAnnealing`, or `None`.
        forward: part of `kc.forwards`: how the step's batches share a forward. `None` is `Concatenated()`.
        prediction: where the student returns a dictionary, the name of the output that is the prediction: what the
            compiled loss and metrics, calls, `predict`, `evaluate` and `export` read. `None` for all of them.
        clipping: a `kc.Clipping` of the gradients, in place of the optimizer's own, or `None`.
        seed: of the random draws of mixer, forward, perturbations and geometries.

    Input shape:
        Batches `({"labeled": x, "unlabeled": u}, y)`, with `sample_weight` or without, or plain `(x, y)` when every
        example has a label. See `kc.data.pair`.

    Attributes:
        watch: what records each step and keeps bad batches out, set by `kc.callbacks.StabilityMonitor`; else `None`.

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
        labeled_scale=None,
        labeled_weight=None,
        forward=None,
        prediction=None,
        clipping=None,
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
        checks.terms(self.terms, mixer)
        self.teacher = Self() if teacher is None else teacher
        checks.teacher(self.teacher)
        self.prediction_shape = checks.prediction_shape(student, prediction)
        self.teacher.attach(student, self.prediction_shape)
        checks.same_outputs(student, self.teacher.network)
        checks.logits("teacher", self.teacher.network)
        self.labeled_view = labeled_view
        self.labeled_scale = labeled_scale
        self.labeled_weight = labeled_weight
        self.forward = Concatenated() if forward is None else forward
        self.prediction = prediction
        self.clipping = clipping
        self.seed = seed
        self.watch = None
        self.seed_generator = keras.random.SeedGenerator(seed)

        self._labeled_views = checks.labeled_views(labeled_view, labeled_scale)
        views = [*self._labeled_views, *(view for term in self.terms for view in term.views)]
        self.view_layers = checks.view_layers(views)
        checks.perturbed(views, student, prediction, mixer)
        checks.labeled_look(self._labeled_views[0], self.terms, self.teacher)
        parts = {id(part): part for term in self.terms for part in term.parts}
        if labeled_weight is not None:
            parts |= {id(part): part for part in labeled_weight.walk()}
        for part in parts.values():
            checks.unused(part)
        for term in self.terms:
            term.build_parts(lambda name, term=term: checks.answer_shape(student, name, term))
        if labeled_weight is not None:
            checks.one_prediction(self.prediction_shape)
            for part in labeled_weight.walk():
                part.build(self.prediction_shape[-1])
        if clipping is not None:
            checks.clipping(clipping)
            clipping.build()
            parts[id(clipping)] = clipping
        self.part_state = [variable for part in parts.values() for variable in part.variables]
        names = ["supervised_loss", *(name for term in self.terms for name in term.metric_names)]
        self.training_metrics = {name: keras.metrics.Mean(name=name) for name in names}
        self.training_metrics |= {metric.name: metric for metric in (clipping.metrics if clipping else ())}
        self.built = True

    def train_step(self, data):
        """Looks, then learns, from one batch; returns the metrics."""
        requires = {key for part in (*self.terms, self.teacher) for key in part.requires}
        watched = None if self.watch is None else self.watch.begin(self)
        batch = Batch(data, indexed="index" in requires, checked=watched is None or not self.watch.skip)
        step = tf.identity(self.optimizer.iterations)
        seed = self.seed_generator.next()
        targets = labels.as_targets(batch.labels, self.prediction, self.prediction_shape)
        streams = Streams(batch, self.view_layers, self._infer, seed, inside=self._inside, labels=targets)
        labeled = streams.of("labeled", self._labeled_views[0])
        looks = Looks(streams, step, self.teacher.recall, labeled if "labeled" in requires else ())

        verdicts = self._look(looks)
        for role in self._roles(streams).values():
            for stream in role:
                _ = streams[stream]  # Made before the tape, which would keep what perturbations compute.
        with tf.GradientTape() as tape:
            loss, values, (y, y_pred, sample_weight) = self._learn(looks, verdicts, step, seed)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.student.trainable_variables
        gradient = tape.gradient(scaled, variables)
        if watched is not None:
            gradient = watched.screen(loss, gradient, batch.finite)
        if not clipping.installed(self.optimizer, False):
            clipping.install(self.clipping, self.optimizer)
        self.optimizer.apply_gradients(zip(gradient, variables, strict=True))
        done = tf.identity(self.optimizer.iterations)
        applied = done > step
        if watched is not None:
            watched.put_back()
            applied &= watched.healthy
        self.teacher.update(self.student, done, applied=applied)

        x = batch.inputs("labeled")
        for name, value in values.items():
            self.training_metrics[name].update_state(value)
        _compat.track_loss(self, loss * replicas.count(), keras.tree.flatten(x)[0])
        logs = self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        if watched is None:
            return logs
        watched.end(values, y_pred)
        return self.get_metrics_result()

    def _look(self, looks):
        """Stage 1: asks the teacher what the student's own forward will not answer; the verdicts that this allows."""
        answered = set()
        if self.mixer is None and self.teacher.learns:
            # Where the student learns on what the teacher would be asked, its answer comes with the second stage.
            answered = {stream for role in self._roles(looks.streams).values() for stream in role}
        wanted = {term.name: term.teacher_streams(looks) for term in self.terms}
        questions = {stream: None for streams in wanted.values() for stream in streams if stream not in answered}
        if questions:
            looks.answers |= self.forward(self._ask, {stream: looks.streams[stream] for stream in questions})
        return {term.name: term.judge(looks) for term in self.terms if answered.isdisjoint(wanted[term.name])}

    def _learn(self, looks, verdicts, step, seed):
        """Stage 2: this replica's share of the global loss, its parts by metric, and what the metrics read."""
        streams = looks.streams
        roles = self._roles(streams)
        ignored = getattr(self.loss, "ignore_class", None)
        y, sample_weight = labels.repeated(
            (labels.checked(streams.batch.labels, self.prediction_shape, ignored=ignored), streams.batch.sample_weight),
            len(self._labeled_views),
        )
        options = {"seed": random.fold(seed, -2)}
        if self.mixer is not None:
            inputs, learned, verdicts = self._mix(roles, y, streams, verdicts, seed)
            answers = self.forward(self._train, inputs, labeled=["labeled"], **options)
        else:
            learned = y
            inputs = {stream: streams[stream] for role in roles.values() for stream in role}
            answers = self.forward(self._train, embeddings.alike(inputs), labeled=roles["labeled"], **options)
            looks.answers = answers | looks.answers
            verdicts |= {term.name: term.judge(looks) for term in self.terms if term.name not in verdicts}
            answers = {role: _join([answers[stream] for stream in parts]) for role, parts in roles.items()}

        y_pred = self._prediction(answers["labeled"])
        loss = self._supervised_loss(streams.batch, learned, y_pred, sample_weight, step)
        values = {"supervised_loss": loss * replicas.count()}
        for term in self.terms:
            verdict = verdicts[term.name]
            given = [term.answer(answers[role]) for role in self._term_roles(term)]
            term_loss = term.loss(verdict, given)
            loss += value_at(term.scale, step) / replicas.count() * term_loss
            values |= zip(term.metric_names, [term_loss, *term.statistics(verdict, given)], strict=True)
        return loss, values, (y, y_pred, sample_weight)

    def _roles(self, streams):
        """What the student learns on: streams by role, `"labeled"` or a term's name and view number."""
        roles = {"labeled": tuple(each for view in self._labeled_views for each in streams.of("labeled", view))}
        for term in self.terms:
            roles.update(zip(self._term_roles(term), term.student_streams(streams), strict=True))
        return roles

    def _term_roles(self, term):
        return [(term.name, number) for number in range(len(term.student_views))]

    def _mix(self, roles, y, streams, verdicts, seed):
        """Mixes what is to be mixed, each with its target: inputs by role, labels and verdicts."""
        targets = {}
        if self.mixer.labeled:
            targets["labeled"] = labels.as_probabilities(y, self.prediction_shape[-1])
        for term in self.terms:
            if term.mixed and verdicts[term.name] is not None:
                targets.update(zip(self._term_roles(term), verdicts[term.name].targets, strict=True))
        inputs = {role: _join([streams[stream] for stream in parts]) for role, parts in roles.items()}
        mixed = self.mixer([inputs[role] for role in targets], list(targets.values()), seed=random.fold(seed, -1))
        inputs |= zip(targets, mixed[0], strict=True)
        targets = dict(zip(targets, mixed[1], strict=True))
        for term in self.terms:
            if term.mixed and verdicts[term.name] is not None:
                mixed_targets = [targets[role] for role in self._term_roles(term)]
                verdicts[term.name] = verdicts[term.name]._replace(targets=mixed_targets)
        return inputs, targets.get("labeled", y), verdicts

    def _supervised_loss(self, batch, y, y_pred, sample_weight, step):
        """The compiled loss and the regularisation, scaled for the replicas."""
        if self.labeled_weight is not None:
            weight = self.labeled_weight(
                labels.as_probabilities(y, self.prediction_shape[-1]),
                tf.stop_gradient(tf.cast(y_pred, tf.float32)),
                step,
            )
            sample_weight = weight if sample_weight is None else weight * tf.cast(sample_weight, tf.float32)
        if self.labeled_scale is not None:
            sample_weight = labels.scaled(sample_weight, self.labeled_scale, y_pred)
        x = batch.inputs("labeled")
        if self.mixer is None or not self.mixer.labeled:
            return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        loss = labels.loss_on_probabilities(self.loss)(y, y_pred, sample_weight)
        return loss + tf.add_n([0.0, *self.losses]) / replicas.count()

    def _ask(self, inputs):
        return self.teacher.look(self.student, inputs)

    def _train(self, inputs):
        return embeddings.call(self.student, inputs, training=True)

    def _infer(self, inputs):
        return self._prediction(embeddings.call(self.student, inputs, training=False))

    def _inside(self, name, inputs):
        return embeddings.read(self.student, name, inputs)

    def get_config(self):
        names = ("student", "terms", "teacher", "mixer", "labeled_view", "labeled_scale", "labeled_weight", "forward")
        names += ("prediction", "clipping", "seed", "name")
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config):
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def _join(outputs):
    if len(outputs) == 1:
        return outputs[0]
    return keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *outputs)
