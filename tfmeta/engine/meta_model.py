"""`MetaModel`: a learner is `adapt`, then `predict_query`."""

import keras

from tfmeta.backend.batching import MODES
from tfmeta.engine import learner_checks as checks
from tfmeta.engine import losses, saving
from tfmeta.engine.adapted_model import AdaptedModel
from tfmeta.engine.entry_points import EntryPoints
from tfmeta.engine.purity import pure


@keras.saving.register_keras_serializable("tfmeta")
class MetaModel(EntryPoints):
    """A Keras model that learns, over many tasks, how to learn a new one from a few examples.

    Every method is *adapt, then predict*:

        adapted = learner.adapt(support)
        outputs = learner.predict_query(adapted, x)

    A learner is made from a network, `MAML(network)`, or by subclassing, with layers in
    `__init__` and a `call(self, x)`: the learner's own layers are then the network. A new method
    is a subclass of `MetaModel` with its own `adapt` and `predict_query`, both pure functions
    of tensors of one task. `compile`, `fit`, `evaluate`, `predict`, callbacks and saving are
    Keras's own, over a `tf.data.Dataset` of meta-batched `tfmeta.Episode`.

    The outer loss is the mean over tasks of the compiled loss on the query set, plus the
    network's weight regularisers. `fit` reports it and the compiled metrics after adaptation
    and, for learners that start from a usable network, before it (`loss_before`, ...).

    Args:
        network: a `keras.Model` that maps inputs to outputs, or None for a subclass with `call`.
        task_batching: how a compiled step runs the tasks of a meta-batch: "vectorize" (all in one
            kernel), "loop" (one after another), or "auto", which takes the faster one by the
            network's layers and the size of its features (`tfmeta.backend.batching`). The results are
            the same.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError: an argument is out of its range.
    """

    #: True if `adapt` and `predict_query` leave rows with mask 0 out.
    supports_masks = False

    def __new__(cls, *args, **kwargs):
        learner = super().__new__(cls, *args, **kwargs)
        arguments = saving.record_arguments(cls, args, kwargs)
        # Behind a function, or Keras would save a network in it a second time.
        object.__setattr__(learner, "_recorded_arguments", lambda: arguments)
        return learner

    def __init__(self, network=None, *, task_batching="auto", **kwargs):
        super().__init__(**kwargs)
        checks.check_network(network, type(self))
        if task_batching not in MODES:
            raise ValueError(f"Expected task_batching in {MODES}. Received: {task_batching!r}.")
        self.task_batching = task_batching
        self.network = network
        self.built = network is not None and network.built

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("adapt", "predict_query"):
            if name in cls.__dict__:
                setattr(cls, name, pure(cls.__dict__[name]))

    def inner_network(self):
        """The network that is adapted: the one given, or the learner's own layers."""
        return self if self.network is None else self.network

    def own_layers(self):
        """The layers that each task runs on weights of its own: none, unless `adapt` makes some."""
        return []

    def build(self, input_shape):
        """Make the weights for inputs of this shape, `(None, ...)`."""
        inputs = keras.KerasTensor(input_shape, dtype=self.input_dtype)
        if self.network is None:
            self.compute_output_spec(inputs)
        elif not self.network.built:
            self.network(inputs)

    def build_on_network(self):
        """Make the weights, if the network was built by a call of its own."""
        if self.network is not None and self.network.built and not self.built:
            self.build(self.network_input_shape())

    def network_input_shape(self):
        """Of a built network, `(None, ...)`."""
        shape = getattr(self.network, "input_shape", None)  # a subclassed network has none
        return shape or self.network.get_build_config()["input_shape"]

    def call(self, x, training=None):
        """Outputs of the network before any adaptation, `[rows, ...]`."""
        if self.network is None:
            raise NotImplementedError(
                f"Expected a network: {type(self).__name__}(network), or a subclass with layers in "
                "`__init__` and a method `call(self, x)`. Received: neither."
            )
        return self.network(x, training=training)

    def adapt(self, support, training=False):
        """Learn one task from its support set.

        Args:
            support: `Examples` of one task, tensors or NumPy arrays: x `[S, ...]`, y `[S, ...]`.
            training: True inside a step of `fit` (dropout is on).

        Returns:
            What was learned, a nest of tensors. No variable changes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `adapt`.")

    def predict_query(self, adapted, x, training=False):
        """Predict with what `adapt` returned.

        Args:
            adapted: the value that `adapt` returned.
            x: query inputs `[M, ...]`.
            training: True inside a step of `fit`.

        Returns:
            Outputs `[M, ...]`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `predict_query`.")

    def unadapted(self, support, training=False):
        """What `adapt` would return if it learned nothing, or None if there is no such value."""
        return None

    def adapted_model(self, support):
        """A Keras model for one task, to predict with, save and serve.

        Args:
            support: `Examples` of the task.

        Returns:
            A `keras.Model` that maps query inputs `[M, ...]` to outputs. It takes what the
            network takes: images as floats 0..1, not uint8.
        """
        return AdaptedModel.of(self, support)

    @property
    def integer_labels(self):
        """True if targets are class labels `0..ways-1`: a sparse cross-entropy is compiled."""
        return losses.is_sparse(self.query_loss)

    def predicts_logits(self):
        """True if outputs are certainly logits: a loss of probabilities is then an error."""
        return False

    def check_episodes(self, first):
        """Raise a ValueError if episodes do not fit this learner.

        Args:
            first: the first meta-batch, an `Episode` of NumPy arrays `[B, rows, ...]`.
        """

    def __setattr__(self, name, value):
        # The first value is the constructor's, which is recorded where the caller gave it.
        changed = name in self.__dict__ and name in saving.argument_names(type(self))
        super().__setattr__(name, value)
        if changed:
            if saving.takes(type(self), name):
                self._recorded_arguments()[name] = value
            # `inner_steps` and the like are constants in the compiled steps: trace them anew.
            for step in ("train", "test", "predict"):
                if getattr(self, f"{step}_function", None) is not None:
                    getattr(self, f"make_{step}_function")(force=True)

    @classmethod
    def search_space(cls, hp):
        """What is worth tuning (`tfmeta.tuning`): nothing, unless a learner says so.

        Args:
            hp: `keras_tuner.HyperParameters`, or anything with its methods.

        Returns:
            Arguments of the constructor, each under the name of its hyperparameter.
        """
        return {}

    # Saving.

    def get_config(self):
        self.build_on_network()  # or the file would not have the weights that it names
        return saving.learner_config(self, self._recorded_arguments())

    @classmethod
    def from_config(cls, config):
        return cls(**saving.constructor_arguments(config))
