"""Detectors of trouble in a training: numbers of each step in, events with cause, evidence and advice out."""

from keras_consistency.stability.detectors import Detectors
from keras_consistency.stability.event import ADVICE, CAUSES, Event

__all__ = ["ADVICE", "CAUSES", "Detectors", "Event"]
