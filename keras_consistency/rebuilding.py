"""Rebuilding a model: its layers and connections, as Keras writes them into a file, are read, edited and made again."""

import collections
import dataclasses
import json
import tempfile
from typing import NamedTuple

import keras

from keras_consistency import _compat


class Tensor(NamedTuple):
    """An output of a layer or operation in one of its calls.

    Attributes:
        level: path of the model that it belongs to, `""` for the outermost one, else ending in `/`.
        name: of the layer or operation.
        call: number of the call, from 0.
        index: which of the outputs.
    """

    level: str
    name: str
    call: int
    index: int


@dataclasses.dataclass(eq=False)
class Leaf:
    """A layer that is no functional or Sequential model, or an operation.

    Attributes:
        path: its name, after those of the models that it is nested in, separated by `/`.
        operation: the `keras.layers.Layer` or operation of the model that is read.
        config: its configuration, to be edited.
        frozen: whether it, or a model around it, is not trainable.
        calls: for each call the list of its outputs that anything reads, or the first of them.
    """

    path: str
    operation: object
    config: dict
    frozen: bool
    calls: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Step:
    """A call of a leaf, or with the leaf `None`, a tensor that enters a nested model or leaves it."""

    leaf: Leaf | None
    inputs: list
    outputs: list


class Blueprint:
    """A functional or Sequential model with the models nested in it, to be edited and built.

    Args:
        model: a built `keras.Model`, which stays as it is.

    Attributes:
        leaves: list of each `Leaf`, in the order of the model.

    Raises:
        ValueError: where Keras keeps no record of how layers are connected, or a layer is part of two models.
    """

    def __init__(self, model):
        self.model = model
        self.leaves = []
        try:
            self._entry = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
        except Exception as error:
            raise self._without_configuration(error) from error
        self._levels = {}
        self._nested = {}
        self._specs = {}
        self._paths = {}
        self._inserted = collections.defaultdict(list)
        self._producers = collections.defaultdict(list)
        self._consumers = collections.defaultdict(list)
        if not _is_graph(model, self._entry):
            raise ValueError(
                "`model` must be a functional or Sequential model that was built on a `keras.Input`, as only these "
                "keep a record of how their layers are connected; `keras.Model(model.input, model.output)` makes one "
                f"of a class that was derived from one. Received: model={model!r}"
            )
        _, self._outputs = self._read(model, self._entry, "", not model.trainable)

    def unguarded(self, mixes):
        """The leaves from which an output of the model can be reached without a pass through a leaf that mixes.

        Args:
            mixes: function from a layer or operation to whether a way ends there.

        Returns:
            A list of each `Leaf` that mixes, and whose outputs reach an output of the model unmixed.
        """
        found, seen, open_tensors = [], set(), list(self._outputs)
        while open_tensors:
            tensor = open_tensors.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            for step in self._producers[tensor]:
                if step.leaf is not None and mixes(step.leaf.operation):
                    found.append(step.leaf)
                else:
                    open_tensors += step.inputs
        return found

    def following(self, tensor):
        """The calls through which a tensor goes one after the other, as long as nothing else reads it or joins it.

        Returns:
            A list of pairs of a `Leaf` and the tensor that it returns.
        """
        found = []
        while len(self._consumers[tensor]) == 1 and tensor not in self._outputs:
            (step,) = self._consumers[tensor]
            if len(step.inputs) != 1 or len(step.outputs) != 1 or len(self._producers[step.outputs[0]]) != 1:
                break
            (tensor,) = step.outputs
            if step.leaf is not None:
                found.append((step.leaf, tensor))
        return found

    def insert(self, tensors, layer):
        """Puts a layer behind tensors of one model: whatever reads them reads what the layer makes of them instead.

        Args:
            tensors: list of `Tensor`s, the calls of one layer; the new layer is shared between them.
            layer: a Keras layer, or its configuration as `keras.saving.serialize_keras_object` returns it.
        """
        entry = layer if isinstance(layer, dict) else keras.saving.serialize_keras_object(layer)
        level = tensors[0].level
        taken = {each["name"] for each in self._levels[level]["layers"]}
        taken |= {each["name"] for _, each in self._inserted[level]}
        name = base = entry["config"]["name"]
        number = 0
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        entry = {**entry, "name": name, "config": {**entry["config"], "name": name}}
        self._inserted[level].append((tensors, entry))

    def build(self):
        """Builds the edited model.

        Returns:
            A `keras.Model` with the state of the one that was read, not compiled; and a dictionary from the path of
            each layer that was read to the one in its place.

        Raises:
            ValueError: where a layer cannot be made of its configuration, or has other weights then.
        """
        for level, inserted in self._inserted.items():
            config = self._levels[level]
            if "input_layers" in config:
                _splice(config, inserted, self._specs)
            else:
                _stack(config, inserted)
        try:
            with keras.saving.custom_object_scope(_compat.classes_of(self.model)):
                model = keras.saving.deserialize_keras_object(self._entry, safe_mode=False)
            pairs = list(self._pairs(self.model, model, ""))
            for old, new in [(self.model, model), *(pair for _, *pair in pairs)]:
                _copy_trainable(old, new)
            for path, old, new in pairs:
                if path not in self._nested:
                    _copy_state(old, new)
        except Exception as error:
            raise self._without_configuration(error) from error
        return model, {path: new for path, _, new in pairs}

    def _read(self, model, entry, level, frozen):
        """Notes the layers and connections of a model; returns its tensors that come in and that go out."""
        entry.pop("compile_config", None)
        config = self._levels[level] = entry["config"]
        operations = {each.name: each for each in getattr(model, "operations", model.layers)}
        if isinstance(model, keras.Sequential):
            first, *rest = config["layers"]
            first["name"] = first["config"]["name"]
            tensor = start = Tensor(level, first["name"], 0, 0)
            for layer, each in zip(model.layers, rest, strict=True):
                each["name"] = layer.name
                inputs, tensor = [tensor], Tensor(level, layer.name, 0, 0)
                if self._producers[tensor]:
                    raise self._twice(level + tensor.name, level + tensor.name)
                self._call(operations[tensor.name], each, inputs, tensor, [tensor], frozen)
            return [start], [tensor]

        for each in config["layers"]:
            for node in each["inbound_nodes"]:
                for spec in _specs_in(node):
                    self._specs[Tensor(level, *spec["keras_history"])] = spec
        # Of a functional model, Keras counts the calls from 0 where they are read, and from 1 where they are outputs.
        functional = {each["name"] for each in config["layers"] if "input_layers" in each["config"]}
        outputs = [
            Tensor(level, name, call - (name in functional), index)
            for name, call, index in _references_in(config["output_layers"])
        ]
        for tensor, live in zip(outputs, model.outputs, strict=True):
            spec = {"shape": list(live.shape), "dtype": live.dtype, "keras_history": list(tensor[1:])}
            self._specs.setdefault(tensor, spec)
        for each in config["layers"]:
            for call, node in enumerate(each["inbound_nodes"]):
                first = Tensor(level, each["name"], call, 0)
                read = sorted(tensor for tensor in self._specs if tensor[:3] == first[:3])
                inputs = [Tensor(level, *spec["keras_history"]) for spec in _specs_in(node)]
                self._call(operations[each["name"]], each, inputs, first, read or [first], frozen)
        return [Tensor(level, *each) for each in _references_in(config["input_layers"])], outputs

    def _call(self, operation, entry, inputs, first, outputs, frozen):
        """Notes one call of a layer, an operation or a nested model."""
        path = first.level + first.name
        if self._paths.setdefault(id(operation), path) != path:
            raise self._twice(path, self._paths[id(operation)])
        frozen = frozen or not getattr(operation, "trainable", True)
        if _is_graph(operation, entry):
            if path not in self._nested:
                self._nested[path] = self._read(operation, entry, f"{path}/", frozen)
            entering, leaving = self._nested[path]
            if len(entering) == len(inputs):
                steps = [Step(None, [outer], [inner]) for outer, inner in zip(inputs, entering, strict=True)]
            else:
                steps = [Step(None, inputs, entering)]
            steps += [Step(None, [inner], [first._replace(index=number)]) for number, inner in enumerate(leaving)]
        else:
            leaf = next((leaf for leaf in self.leaves if leaf.path == path), None)
            if leaf is None:
                leaf = Leaf(path, operation, entry["config"], frozen)
                self.leaves.append(leaf)
            leaf.calls.append(outputs)
            steps = [Step(leaf, inputs, outputs)]
        for step in steps:
            for tensor in step.inputs:
                self._consumers[tensor].append(step)
            for tensor in step.outputs:
                self._producers[tensor].append(step)

    def _pairs(self, old, new, level):
        """Path, layer that was read and layer in its place, for each layer inside a model; a model before its own."""
        for layer in old.layers:
            if not isinstance(layer, keras.layers.InputLayer):
                path, other = level + layer.name, new.get_layer(layer.name)
                yield path, layer, other
                if path in self._nested:
                    yield from self._pairs(layer, other, f"{path}/")

    def _without_configuration(self, error):
        return ValueError(
            "`model` must be such that its layers can be made again from their configuration: give each of its classes "
            "a `get_config` that names every constructor argument. "
            f"Received: model={self.model!r}; Keras says: {error}"
        )

    def _twice(self, path, known):
        return ValueError(
            "`model` must not contain a layer in two of the models that it is made of, or twice in a Sequential one, "
            f"as Keras would write it twice. Received: model={self.model!r}, with the layer {path!r}, which is "
            f"{known!r} too"
        )


def _is_graph(operation, entry):
    """Whether the configuration of a model says how its layers are connected."""
    if isinstance(operation, keras.Sequential):
        return "build_input_shape" in entry["config"]
    return isinstance(operation, keras.Model) and {"layers", "input_layers", "output_layers"} <= set(entry["config"])


def _specs_in(structure):
    """The tensors in what Keras writes of a call, in Keras's order: dictionaries with `"keras_history"`."""
    if isinstance(structure, dict):
        if structure.get("class_name") == "__keras_tensor__":
            return [structure["config"]]
        structure = [structure[key] for key in sorted(structure)]
    return [spec for each in structure for spec in _specs_in(each)] if isinstance(structure, list) else []


def _references_in(structure):
    """The tensors in what Keras writes of a model's inputs or outputs, in Keras's order: lists of name, call, index."""
    if isinstance(structure, dict):
        structure = [structure[key] for key in sorted(structure)]
    elif len(structure) == 3 and isinstance(structure[0], str):
        return [structure]
    return [reference for each in structure for reference in _references_in(each)]


def _stack(config, inserted):
    """Adds layers to the configuration of a Sequential model."""
    last = {}
    for (tensor,), entry in inserted:
        before = last.get(tensor.name, tensor.name)
        names = [each["name"] for each in config["layers"]]
        config["layers"].insert(names.index(before) + 1, entry)
        last[tensor.name] = entry["name"]


def _splice(config, inserted, specs):
    """Adds layers to the configuration of a functional model."""
    last, entries = {}, []
    for tensors, entry in inserted:
        nodes = []
        for call, tensor in enumerate(tensors):
            spec = {**specs[tensor], "keras_history": last.get(tensor, list(tensor[1:]))}
            nodes.append({"args": [{"class_name": "__keras_tensor__", "config": spec}], "kwargs": {}})
            last[tensor] = [entry["name"], call, 0]
        entries.append({**entry, "inbound_nodes": nodes})
    moved = {tensor[1:]: reference for tensor, reference in last.items()}
    for each in config["layers"]:
        for spec in _specs_in(each["inbound_nodes"]):
            spec["keras_history"] = moved.get(tuple(spec["keras_history"]), spec["keras_history"])
    for reference in _references_in(config["output_layers"]):
        reference[:] = moved.get(tuple(reference), reference)
    config["layers"] += entries


def _copy_trainable(old, new):
    if new.trainable != old.trainable:
        new.trainable = old.trainable


def _with_state(layer):
    """A layer and the layers inside it, without those that have nothing to keep, such as activations."""
    inside = [each for each in _compat.layers_of(layer) if each.variables or hasattr(each, "save_assets")]
    return [layer, *inside]


def _copy_state(old, new):
    """Gives a layer, with the layers inside it, the state of another of the same configuration."""
    for source, target in zip(_with_state(old), _with_state(new), strict=True):
        _copy_trainable(source, target)
        store = {}
        source.save_own_variables(store)
        if store:
            target.load_own_variables(store)
        if hasattr(source, "save_assets"):
            with tempfile.TemporaryDirectory() as directory:
                source.save_assets(directory)
                target.load_assets(directory)
    # Generators of random numbers, which no layer counts among its own variables.
    for source, target in zip(old.variables, new.variables, strict=True):
        target.assign(source)
        if target.trainable != source.trainable:
            target.trainable = source.trainable
