"""Go on with a training run that was stopped, at the outer step where it was."""

import re
import warnings

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.backend.private_keras import begin_at_epoch, counted_steps
from tfmeta.callbacks.backup_folder import BackupFolder
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.resume import Restored
from tfmeta.hints import Path


class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """Keras's `BackupAndRestore` for learners, which a kill or a full disk cannot make lose a run.

    A run that is started again with the same arguments goes on from its last backup, with the
    episodes that it would have seen next, and ends with the weights of a run that was never
    stopped: bit for bit on one machine. What differs from Keras's callback:

    - a backup is one file, written beside its place and moved there when it is whole; the one
      before is kept. A damaged one is named in a warning, and the one before is taken;
    - a backup that cannot be written, because the disk is full, is named in a warning, training
      goes on, and the backups before it stay;
    - it holds the metrics, and how far the epoch is: with an int `save_freq` the epoch goes on
      where it was. Other callbacks are told of the batches of that epoch that were done before,
      which take no time, so that they count the same;
    - `optimizer.iterations`, epoch and `steps_per_epoch` must agree;
    - of several workers one writes, and all read: the folder must be one that all of them see.

    Other callbacks begin anew, as with Keras's: `EarlyStopping` forgets the best epoch.

    Args:
        backup_dir: folder for the backups of this run alone.
        save_freq: "epoch", or an int: after every so many outer steps.
        delete_checkpoint: True to remove the backups at the end of training.

    Raises:
        ValueError: an argument is out of range; in `fit`, the folder cannot be written to, no
            backup in it can be read, or it is one of another learner or of other steps.
    """

    def __init__(
        self, backup_dir: Path, save_freq: int | str = "epoch", delete_checkpoint: bool = True
    ):
        if save_freq != "epoch":
            save_freq = check_integer('save_freq, unless it is "epoch",', save_freq, 1)
        check_flag("delete_checkpoint", delete_checkpoint)
        super().__init__(str(backup_dir), save_freq, delete_checkpoint=delete_checkpoint)
        #: What `fit` went on from, `(outer_steps, batches)`, or None.
        self.restored = None
        self._folder = BackupFolder(backup_dir)

    def on_train_begin(self, logs=None):
        if not isinstance(self.model, MetaModel):
            raise ValueError(
                "Expected a learner of tfmeta. Received: "
                f"{type(self.model).__name__}. Use keras.callbacks.BackupAndRestore for it."
            )
        # All workers have the same weights: one writes them.
        self._writes = self.model.distribute_strategy.extended.should_checkpoint
        if self._writes:
            self._folder.prepare()
        self._iterations_before = self._iterations()
        self._steps, self._batch, self._unsaved, self.restored = 0, 0, 0, None
        self._epoch = self._metric_values = None
        found = self._folder.newest()
        if found is not None:
            self._restore(*found)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self._metric_values is not None:  # after Keras has reset them
            _assign(_metric_variables(self.model), self._metric_values)
            self._metric_values = None

    def on_train_batch_end(self, batch, logs=None):
        new = batch + 1 - self._batch
        if new <= 0:  # done before the restart
            return
        self._batch, self._steps, self._unsaved = batch + 1, self._steps + new, self._unsaved + new
        if self.save_freq != "epoch" and self._unsaved >= self.save_freq:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._epoch, self._batch = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    def on_train_end(self, logs=None):
        begin_at_epoch(self.model, None)  # or the next `fit` would begin there, too
        if self._writes and self.delete_checkpoint:
            self._folder.remove()

    def _iterations(self):
        return int(tf.convert_to_tensor(self.model.optimizer.iterations))

    def _save(self):
        state, metrics = _state_variables(self.model), _metric_variables(self.model)
        # Of several workers, all read: metrics are sums over workers.
        arrays = [np.asarray(tf.convert_to_tensor(v)) for v in [*state, *metrics]]
        self._unsaved = 0
        facts = {
            "epoch": self._epoch,
            "batch": self._batch,
            "outer_steps": self._steps,
            "iterations": self._iterations(),
            "iterations_before": self._iterations_before,
            "steps_per_epoch": self.params.get("steps"),
            "measured_before_adaptation": self.model.before_adaptation.used,
            "variables": [v.name for v in [*state, *metrics]],
        }
        error = self._folder.write(self._steps, arrays, facts) if self._writes else None
        if error is not None:
            warnings.warn(
                f"The backup of outer step {self._steps} was not written: {error.strerror}; it "
                f"takes {sum(a.nbytes for a in arrays):,} bytes, and {self._folder.free()}. "
                "Training goes on, and the backups before it stay.",
                stacklevel=2,
            )

    def _restore(self, path, arrays, facts):
        self._check(path, arrays, facts)
        state, metrics = _state_variables(self.model), _metric_variables(self.model)
        _assign(state, arrays[: len(state)])
        self._iterations_before = facts["iterations_before"]
        self._steps, self._batch = facts["outer_steps"], facts["batch"]
        self.restored = Restored(self._steps, self._batch)
        begin_at_epoch(self.model, facts["epoch"])
        if self._batch:
            self._metric_values = arrays[len(state) : len(state) + len(metrics)]
            self.model.before_adaptation.used = facts["measured_before_adaptation"]

    def _check(self, path, arrays, facts):
        """Raise a ValueError if the backup is not one of this run."""
        advice = "Remove the folder to begin anew, or give another one."
        variables = [*_state_variables(self.model), *_metric_variables(self.model)]
        here = [f"{_unnumbered(v.name)} {list(v.shape)}" for v in variables]
        pairs = zip(facts["variables"], arrays, strict=True)
        there = [f"{_unnumbered(name)} {list(array.shape)}" for name, array in pairs]
        if here != there:
            differ = next((p for p in zip(here, there, strict=False) if p[0] != p[1]), None)
            found = f"{differ[1]} where it has {differ[0]}" if differ else f"{len(there)} variables"
            raise ValueError(
                f"Expected a backup of this learner, its {len(here)} variables. Received: {path} "
                f"with {found}. Make and compile the learner as before. {advice}"
            )
        steps, before = self.params.get("steps"), facts["steps_per_epoch"]
        if None not in (steps, before) and steps != before:
            raise ValueError(
                f"Expected steps_per_epoch={before}, as in the backup {path}. Received: "
                f"steps_per_epoch={steps}. {advice}"
            )
        together = self.model.steps_per_execution
        if facts["batch"] % together:
            raise ValueError(
                f"Expected a steps_per_execution that divides the {facts['batch']} outer steps of "
                f"the epoch that {path} was written in. Received: {together}. {advice}"
            )
        self._check_epoch(path, arrays, facts)

    def _check_epoch(self, path, arrays, facts):
        """Raise a ValueError if the weights are not those of the epoch."""
        optimizer = self.model.optimizer
        counted = counted_steps(getattr(optimizer, "inner_optimizer", optimizer))
        place = next(i for i, v in enumerate(_state_variables(self.model)) if v is counted)
        taken = facts["iterations"] - facts["iterations_before"]
        expected = facts["outer_steps"] * self.model.optimizer_steps
        # A loss scale leaves steps out, `gradient_accumulation_steps` counts several as one.
        exact = counted is counted_steps(optimizer) and not optimizer.gradient_accumulation_steps
        agree = taken <= expected and (not exact or taken == expected)
        if not agree or (exact and int(arrays[place]) != facts["iterations"]):
            raise ValueError(
                f"Expected optimizer.iterations={facts['iterations_before']} + "
                f"{facts['outer_steps']}, the outer steps until epoch {facts['epoch']}, batch "
                f"{facts['batch']}, of the backup {path}. Received: {int(arrays[place])}: its "
                "weights are of another moment. Remove this file to go on with the one before it."
            )


def _unnumbered(name):
    """A variable's name without Keras's counters: a learner that is made anew has others."""
    return re.sub(r"_\d+(?=_|$)", "", name)


def _state_variables(model):
    return [*model.variables, *model.optimizer.variables]


def _metric_variables(model):
    mine = [v for metric in model.metrics for v in metric.variables]
    return [*mine, *model.before_adaptation.variables]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        dtype = tf.as_dtype(variable.dtype).as_numpy_dtype
        # NumPy's files know no bfloat16: they have its bytes.
        variable.assign(value.view(dtype) if value.dtype.kind == "V" else value)
