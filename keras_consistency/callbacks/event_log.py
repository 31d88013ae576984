"""Where the events of a training go: to a list, a file, and the screen."""

import json
import math
import pathlib
import warnings


class EventLog:
    """Keeps events, and tells of them.

    Args:
        path: file to append each event to as a line of JSON, or `None`. Values that are not finite are `null`.
        verbose: whether to print.

    Attributes:
        events: list of dictionaries.

    Raises:
        ValueError: where the file cannot be written when this is made. Later, a warning has to do.
    """

    def __init__(self, path, verbose):
        self.events = []
        self._path = None if path is None else pathlib.Path(path)
        self._verbose = verbose
        if path is not None:
            try:
                self._append("")
            except OSError as error:
                raise ValueError(
                    f"`path` must be a file that can be written, in a folder that is there: {error.strerror}. "
                    f"Received: path={str(path)!r}"
                ) from None

    def add(self, entry):
        """Takes an event: a dictionary with `step`, `cause`, `evidence`, `advice`, `value` and `actions`."""
        self.events.append(entry)
        if self._path is not None:
            value = entry["value"] if math.isfinite(entry["value"]) else None
            try:
                self._append(json.dumps({**entry, "value": value}) + "\n")
            except OSError as error:  # A training is worth more than its log.
                warnings.warn(f"Events are no longer written to {self._path}: {error}", stacklevel=2)
                self._path = None
        text = f"{entry['cause'].replace('_', ' ')}. {entry['evidence']} {entry['advice']}"
        self.say(f"Step {entry['step']}: {text}" + "".join(f" [{what}]" for what in entry["actions"]))

    def say(self, sentence):
        """Prints, on a line of its own beside a progress bar."""
        if self._verbose:
            print(f"\n{sentence}", flush=True)

    def _append(self, line):
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
