"""A grid search that goes on: what keras-tuner's oracle does not write down."""

import functools

from keras_tuner.oracles import GridSearchOracle


def restore_grid(oracle):
    """Give a reloaded `GridSearchOracle` the order of its trials back, and where to go on.

    keras-tuner (1.4.8) saves neither: it would stop with a KeyError, or after a part of the grid.
    Each finished trial asks again for the values that come after its own; those that were tried, or
    wait to be run again, are known by their place in the order. Other oracles need nothing.

    Args:
        oracle: a `keras_tuner.Oracle`, reloaded or new.
    """
    if not isinstance(oracle, GridSearchOracle):
        return
    _run_lost_trials_again(oracle)
    place = functools.cmp_to_key(oracle._compare)
    ids = sorted(oracle.trials, key=lambda i: place(oracle.trials[i].hyperparameters.values))
    oracle._ordered_ids = type(oracle._ordered_ids)()
    for trial_id in ids:
        oracle._ordered_ids.insert(trial_id)
    # The others ask when they end, as in a search that was not stopped.
    oracle._populate_next = [trial_id for trial_id in ids if trial_id in oracle.end_order]


def _run_lost_trials_again(oracle):
    """Trials that were written down a moment before a process ended, and the search not."""
    known = {*oracle.start_order, *oracle.end_order, *oracle._retry_queue}
    lost = sorted(oracle.trials.keys() - known)
    oracle.start_order += lost
    oracle._retry_queue += lost
