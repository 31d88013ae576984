"""The page of `kc.callbacks.TrainingReport`: what it keeps of a training, draws and writes."""
