"""Pure tensor functions. Nothing in this package knows a model, a layer or an algorithm."""
