"""What a training was given, and how to repeat it."""

import json
import os
import pathlib
import platform
import shlex
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_consistency._version import __version__
from keras_consistency.report import page

_MOST_TEXT = 200_000  # letters
_VARIABLES = ("TF_", "KERAS_", "XLA_", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED")


def configuration(model, params):
    """The configuration of a compiled model and the `params` of its `fit`, HTML."""
    parts = {
        "model": lambda: keras.saving.serialize_keras_object(model),
        "compiled": model.get_compile_config,
        "fit": lambda: params,
        "dtype policy": lambda: keras.config.dtype_policy().name,
    }
    config = {}
    for name, part in parts.items():
        try:
            config[name] = part()
        except Exception as error:  # A model of the user's without a configuration.
            config[name] = f"cannot be written: {error}"
    text = json.dumps(config, indent=1, default=str, ensure_ascii=False)
    rest = len(text) - _MOST_TEXT
    return page.code(text if rest <= 0 else f"{text[:_MOST_TEXT]}\n... and {rest} letters more")


def repetition():
    """The command, what it depends on in the environment, and versions, HTML."""
    versions = {
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "keras_consistency": __version__,
        "NumPy": np.__version__,
        "platform": platform.platform(),
        "devices": ", ".join(device.name for device in tf.config.list_logical_devices()),
    }
    variables = [f"{name}={shlex.quote(value)}" for name, value in os.environ.items() if name.startswith(_VARIABLES)]
    command = " \\\n  ".join([*sorted(variables), shlex.join(sys.orig_argv)])
    return (
        page.code(f"cd {shlex.quote(str(pathlib.Path.cwd()))}\n{command}")
        + page.dim("The same numbers need the same seeds: keras.utils.set_random_seed, and `seed` of models and views.")
        + page.table(("", "Version"), list(versions.items()))
    )
