"""What `TensorBoard` and `CSVLogger` watch of a training run."""

import time

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.callbacks.measures import learned_rates, measure
from tfmeta.engine.meta_model import MetaModel
from tfmeta.learners.policies.base import PolicyLearner
from tfmeta.version import __version__


class Watch:
    """Numbers of a run of `fit`, at the end of each epoch.

    Args:
        episodes: a `tf.data.Dataset` of meta-batched `Episode`, whose first one is looked at; None
            for the first one that `fit` trains on.
        every: epochs from one look at the episode to the next.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(self, episodes, every):
        if episodes is not None and not isinstance(episodes, tf.data.Dataset):
            raise ValueError(
                "Expected episodes to be a tf.data.Dataset of episodes, or None for those of fit. "
                f"Received: {type(episodes).__name__}."
            )
        self.episodes, self.every = episodes, check_integer("every", every, 1)
        #: The episode, a meta-batch of one, or None where nothing is known of any.
        self.episode = None
        #: The query outputs of the last look at it, `[M, ...]`.
        self.outputs = None
        self._seen, self._timing = {}, {}

    def begin(self, learner, name):
        """At the beginning of `fit`: choose the episode.

        Raises:
            ValueError: the model is no learner; the dataset is empty; it is one for a policy, whose
                episodes hold nothing to look at.
        """
        if not isinstance(learner, MetaModel):
            raise ValueError(
                f"Expected a learner of tfmeta. Received: {type(learner).__name__}. Use "
                f"keras.callbacks.{name} for it."
            )
        first = vars(learner).get("_first_of_fit")  # None for data that several workers share
        self._learner, self._tasks = learner, first and first.tasks
        acts = isinstance(learner, PolicyLearner)  # its data is what it will live through
        if self.episodes is not None and acts:
            raise ValueError(
                f"Expected no episodes to look at: {type(learner).__name__} is a policy, whose "
                "returns are in the logs; validation_data of fit has those of other tasks. "
                f"Received: episodes={self.episodes!r}."
            )
        if self.episodes is not None:
            learner.prepare(self.episodes)
            first = vars(learner)["_first"]
        known = first and not acts
        self.episode = tf.nest.map_structure(tf.constant, first.episode) if known else None
        self._seen, self.outputs = {}, None
        self._timing, self._start, self._first = {}, time.perf_counter(), None

    def epoch_begin(self):
        """At the beginning of an epoch."""
        self._calls = []

    def batch_end(self, batch):
        """After a training batch; it takes two microseconds."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
            self._timing["time_to_first_step"] = now - self._start
        self._calls = [self._calls[0] if self._calls else (now, batch), (now, batch)]

    def epoch_end(self, epoch):
        """At the end of an epoch: a dict from a name to a float."""
        learner = self._learner
        if self.episode is not None and (epoch % self.every == 0 or not self._seen):
            self._seen, self.outputs = measure(learner, self.episode)
        return self._seen | learned_rates(learner) | self._rates_of_work() | self._timing

    def _rates_of_work(self):
        """Episodes a second, from the first call of the epoch, which may trace, to the last."""
        if self._tasks is None or len(self._calls) < 2:
            return {}
        (start, first), (end, last) = self._calls
        if last == first:
            return {}
        return {"episodes_per_second": (last - first) * self._tasks / (end - start)}


def configuration(learner):
    """A table in Markdown of what a learner was made and compiled with."""
    rows = {"learner": type(learner).__name__}
    rows |= {k: v for k, v in learner.get_config().items() if _is_plain(v)}
    network = learner.inner_network()
    rows["network"] = f"{network.name}, {network.count_params():,} weights"
    rows["loss"] = getattr(learner.query_loss, "name", None) or "the learner's own"
    optimizer = learner.optimizer
    facts = {k: v for k, v in optimizer.get_config().items() if _is_plain(v)}
    rows["optimizer"] = type(optimizer).__name__
    rows |= {f"optimizer {k}": v for k, v in facts.items() if k != "name"}
    rows |= {"tfmeta": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _is_plain(value):
    return isinstance(value, str | int | float | bool | list | tuple)
