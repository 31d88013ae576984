"""The packages that only an evaluation needs, imported when they are used."""

import importlib

# Module -> distribution of the extra `robustness`.
PACKAGES = {"imagecorruptions": "imagecorruptions-imaug", "matplotlib.figure": "matplotlib"}


def require(module, purpose):
    """The imported `module`, or an `ImportError` that says which extra brings it.

    Args:
        module: dotted name.
        purpose: the argument or function that needs it, the beginning of the error.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {PACKAGES[module]} ({error}): run `pip install keras-consistency[robustness]`."
        ) from error
