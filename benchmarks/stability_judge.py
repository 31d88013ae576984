"""What the detectors make of histories whose troubles are known."""

import statistics

from keras_consistency.stability import CAUSES, Detectors

WITHIN = 50  # steps from the onset


def judge(history, detectors):
    """What the detectors say of a history.

    Returns:
        A dictionary: `found` and `named`, whether the trouble was found in time by any of its names and by its own
        (`None` for a healthy history); `delay`, steps from the onset to the first such event, whenever it came, or
        `None`; `false`, the false alarms; `other`, events of other causes after the onset; `healthy`, number of healthy
        steps.
    """
    events = list(history.feed(detectors))
    onset = len(history.records) + 1 if history.cause is None else history.onset
    result = {"found": None, "named": None, "delay": None, "other": 0}
    result |= {"false": [event for event in events if event.step < onset], "healthy": onset - 1}
    if history.cause is None:
        return result
    names, late = {history.cause, *history.also}, [event for event in events if event.step >= onset]
    # An early sight of what is slow is a sight of it.
    slow = names if history.cause in ("overfitting", "plateau") else ()
    early = [event for event in result["false"] if event.cause in slow and event.step >= onset - _slack(history)]
    result["false"] = [event for event in result["false"] if event not in early]
    delays = [(event.step - onset, event.cause) for event in early + late if event.cause in names]
    limit = max(WITHIN, 2 * _epoch(history)) if history.cause == "overfitting" else WITHIN
    result["found"] = any(delay <= limit for delay, _ in delays)
    result["named"] = any(delay <= limit and cause == history.cause for delay, cause in delays)
    result["delay"] = min((delay for delay, _ in delays), default=None)
    result["other"] = sum(event.cause not in names for event in late)
    return result


def _epoch(history):
    return history.epochs[0][0] if history.epochs else 0


def _slack(history):
    """Steps before the onset in which an event is no false alarm: the trouble is there, if hardly to be seen."""
    return 4 * _epoch(history) if history.cause == "overfitting" else 500


def table(histories, **settings):
    """The figures of some histories: a dictionary from each cause, and `"all"`, to its row; false alarms beside."""
    rows = {cause: {"troubles": 0, "found": 0, "named": 0, "delays": []} for cause in (*CAUSES, "all")}
    false, healthy, other, listed = 0, 0, 0, []
    for history in histories:
        result = judge(history, Detectors(**settings))
        false, healthy, other = false + len(result["false"]), healthy + result["healthy"], other + result["other"]
        listed += [(history.name, event) for event in result["false"]]
        if history.cause is None:
            continue
        if not result["found"]:
            listed.append((history.name, f"missed at {history.onset}, delay {result['delay']}"))
        for row in (rows[history.cause], rows["all"]):
            row["troubles"] += 1
            row["found"] += result["found"]
            row["named"] += result["named"]
            if result["delay"] is not None:
                row["delays"].append(result["delay"])
    for row in rows.values():
        row["median_delay"] = statistics.median(row["delays"]) if row["delays"] else None
        del row["delays"]
    summary = {"histories": len(histories), "healthy_steps": healthy, "false_alarms": false, "other_events": other}
    return {**summary, "false_alarms_per_10000": 1e4 * false / max(healthy, 1), "causes": rows}, listed
