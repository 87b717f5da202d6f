"""`MetaModel`: a learner is `adapt`, then `predict_query`."""

from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from tfmeta.backend.batching import MODES
from tfmeta.engine import building, fitting, losses, outer_loop, saved_in_keras, saving
from tfmeta.engine import task as tasks
from tfmeta.engine.adapted_model import AdaptedModel
from tfmeta.engine.checks import episode_checks, labels
from tfmeta.engine.checks import learner_checks as checks
from tfmeta.engine.export import files
from tfmeta.engine.input_ranges import scaled
from tfmeta.engine.inputs import check_labels
from tfmeta.engine.outer_gradient import ThroughAdaptation
from tfmeta.engine.purity import pure
from tfmeta.hints import Nest, Path
from tfmeta.types import Episode, Examples


@keras.saving.register_keras_serializable("tfmeta")
class MetaModel(keras.Model, metaclass=saving.ReadyAfterInit):
    """A Keras model that learns, over many tasks, how to learn a new one from a few examples.

    Every method is *adapt, then predict*:

    ```python
    adapted = learner.adapt(support)
    outputs = learner.predict_query(adapted, x)
    ```

    A learner is made from a network, `MAML(network)`, or by subclassing, with layers in
    `__init__` and a `call(self, x)`: the learner's own layers are then the network. A new method
    is a subclass of `MetaModel` with its own `adapt` and `predict_query`, both pure functions
    of tensors of one task, with a `score_task` of its own where its loss is, and with what is true
    of it declared as attributes of the class. `compile`, `fit`, `evaluate`, `predict`, callbacks
    and saving are Keras's own, over a `tf.data.Dataset` of meta-batched `tfmeta.Episode`.

    The outer loss is the mean over tasks of the compiled loss on the query set, plus the
    network's weight regularisers. `fit` reports it and the compiled metrics after adaptation
    and, for learners that start from a usable network, before it (`loss_before`, ...).

    Args:
        network: a `keras.Model` that maps inputs to outputs, or None for a subclass with `call`.
        task_batching: how a compiled step runs the tasks of a meta-batch: "vectorize" (all in one
            kernel), "loop" (one after another), or "auto", which takes the faster one by the
            network's layers and the size of its features. The results are the same.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError: an argument is out of its range.
    """

    supports_masks = False  #: True if rows of mask 0 change nothing in what a task returns.
    transductive = False  #: True if the prediction for a query example depends on the others.
    order_matters = False  #: True if the order of the support rows matters.
    one_label_a_row = False  #: True if class labels are one a row: `[rows]` for `[rows, 1]`.
    #: True if there are `adapt(support, inner_steps=...)` and `adaptation_path`.
    takes_inner_steps = False
    rolled_steps = False  #: True if the outer gradient needs the end of the inner loop alone.
    inner_steps: Any = None  #: Gradient steps of a task, where the learner takes some.
    evaluation_steps: Any = None  #: Their number outside of training, None for the same.
    inner_learning_rate: Any = None  #: What they are scaled by, before any of it is learned.
    rule: Any = None  #: How a gradient learner steps, a `tfmeta.inner.Rule`.
    adapted_part: Any = None  #: What it changes, of `tfmeta.learners.gradient.adapted_part`.
    needs_pretraining = False  #: True if episodes alone do not make a usable learner.
    has_own_loss = False  #: True if `score_task` has a loss of its own: none has to be compiled.
    predicts_sequences = False  #: True if there is `predict_sequence`.
    predicts_distributions = False  #: True: `predict_distribution` and `query_log_likelihood`.
    vectorizes_in_xla = True  #: False if XLA cannot compile it with all tasks in one kernel.
    #: True if XLA makes a step faster: "auto" uses it. None: if no layer convolves or recurs.
    gains_in_xla: Any = None
    optimizer_steps = 1  #: Steps of the optimizer in one outer step.
    #: How the outer gradient is taken, a value of `tfmeta.engine.outer_gradient`.
    outer_gradient: object = ThroughAdaptation()

    def __new__(cls, *args, **kwargs):
        learner = super().__new__(cls, *args, **kwargs)
        arguments = saving.record_arguments(cls, args, kwargs)
        # Behind a function, or Keras would save a network in it a second time.
        object.__setattr__(learner, "_recorded_arguments", lambda: arguments)
        return learner

    def __init__(
        self, network: keras.Model | None = None, *, task_batching: str = "auto", **kwargs
    ):
        super().__init__(**kwargs)
        checks.check_network(network, type(self))
        if task_batching not in MODES:
            raise ValueError(f"Expected task_batching in {MODES}. Received: {task_batching!r}.")
        self.task_batching = task_batching
        self.query_loss = self.before_adaptation = self.first_bad_loss = None
        self.network: Any = network
        self.built = network is not None and network.built

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("adapt", "predict_query"):
            if name in cls.__dict__:
                setattr(cls, name, pure(cls.__dict__[name]))

    def ready(self):
        """Called when the constructor is through, with all its arguments set."""

    # The method.

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        """Learn one task from its support set.

        Args:
            support: `Examples` of one task, tensors or NumPy arrays: x `[S, ...]` or a nest of
                such, y `[S, ...]`.
            training: True inside a step of `fit` (dropout is on).

        Returns:
            What was learned, a nest of tensors. No variable changes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `adapt`.")

    def predict_query(
        self, adapted: Nest, x: Nest, mask: Nest = None, training: bool = False
    ) -> Nest:
        """Predict with what `adapt` returned.

        Args:
            adapted: the value that `adapt` returned.
            x: query inputs `[M, ...]`, or a nest of such.
            mask: `[M]`, 0 for padded rows, for heads that look at all of the query set; None if
                every row is real. A method may leave this argument out, and `training`.
            training: True inside a step of `fit`.

        Returns:
            Outputs `[M, ...]`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `predict_query`.")

    def score_task(self, episode: Episode, training: bool) -> tasks.TaskResult:
        """Adapt, predict and score one task: the third hook, for a loss of a method's own.

        Args:
            episode: `Episode` of one task.
            training: True inside a step of `fit`.

        Returns:
            `tfmeta.TaskResult`. Here: the compiled loss of the query set after adaptation.
        """
        return tasks.score_task(self, episode, training)

    def unadapted(self, support, training=False):
        """What `adapt` would return if it learned nothing, or None if there is no such value."""
        return None

    def own_layers(self):
        """The layers that each task runs on weights of its own: none, unless `adapt` makes some."""
        return []

    def is_transductive(self):
        """True if, with this network, a query example's prediction depends on the others."""
        return self.transductive

    def phase_ends(self):
        """The outer steps at which training changes (`tfmeta.engine.phases`), a sequence."""
        return ()

    # The network.

    def inner_network(self):
        """The network that is adapted: the one given, or the learner's own layers."""
        return self if self.network is None else self.network

    def call(self, x, training=None):
        """Outputs of the network before any adaptation, `[rows, ...]`."""
        if self.network is None:
            raise checks.no_network(type(self))
        return self.network(scaled(self.network, x), training=training)

    def build(self, input_shape):
        """Make the weights of the network for inputs of this shape, `(None, ...)`, or a nest."""
        inputs = building.network_inputs(input_shape, self.input_dtype)
        if self.network is not None:
            building.build_network(self.network, inputs)
        elif type(self).call is not MetaModel.call or not self.layers:
            self.compute_output_spec(inputs)

    @property
    def built(self):
        """True if all weights are made, those of the learner's own layers included."""
        marked, episode = (self.__dict__.get(n) for n in ("_marked_built", "_built_on"))
        return bool(marked) and (episode is not None or not building.unbuilt_layers(self))

    @built.setter
    def built(self, value):
        self.__dict__["_marked_built"] = value

    def mark_built(self, episode):
        """Note the episode, specs of one task, that the learner's own layers were made for."""
        self.__dict__["_built_on"] = episode

    def build_on_network(self):
        """Make what is left to make, if the network was built by a call of its own."""
        if self.network is not None and self.network.built and not self.built:
            self.build(building.network_input_shape(self.network))

    def adapted_model(self, support: Examples) -> keras.Model:
        """A Keras model for the task of a support set, to predict with, save and serve.

        It maps query inputs `[M, ...]` to outputs; like `adapt`, it scales uint8 pictures to 0..1.
        """
        return AdaptedModel.of(self, support)

    # The loss, and what fits it.

    @property
    def integer_labels(self):
        """True if targets are class labels `0..ways-1`: a sparse cross-entropy is compiled."""
        return losses.is_sparse(self.query_loss)

    def task_loss(self, examples, outputs):
        """The compiled loss of one task: the mean over real rows, a scalar."""
        labels.check_targets(self.query_loss, examples.y, losses.one_output(outputs))
        if self.integer_labels and tf.executing_eagerly() and outputs.shape.rank:
            check_labels(examples.y.numpy(), outputs.shape[-1], "y", self.query_loss)
        return losses.task_loss(self.query_loss, examples, outputs)

    def predicts_logits(self):
        """True if outputs are certainly logits: a loss of probabilities is then an error."""
        return False

    def check_episodes(self, first):
        """Raise a ValueError if the first meta-batch, NumPy arrays, does not fit the learner."""

    def scored_specs(self, episode):
        """Specs of what `score_task` scores, `(y, outputs)`, for specs of one task's `Episode`."""
        return fitting.traced_specs(self, episode)

    # Keras's training loop.

    def map_tasks(self, function, elements):
        """Apply a function to each task of a nest of tensors `[B, ...]`."""
        return tasks.map_over_tasks(self, function, elements)

    def outer_gradients(self, episodes):
        """Of a meta-batch: a `TaskResult` `[B, ...]`, one outer gradient a trainable variable."""
        return outer_loop.results_and_gradients(self, episodes)

    def train_step(self, episodes):
        return outer_loop.train_step(self, episodes)

    def test_step(self, episodes):
        return outer_loop.test_step(self, episodes)

    def predict_step(self, episodes):
        return outer_loop.predict_step(self, episodes)

    def make_train_function(self, force=False):
        return fitting.make_train_function(self, super().make_train_function, force)

    def make_test_function(self, force=False):
        return fitting.make_test_function(self, super().make_test_function, force)

    def compile(self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs):
        """As `keras.Model.compile`. `loss` takes one Keras loss; metrics count real rows only,
        and of these none of the loss's `ignore_class`.

        `jit_compile="auto"` asks XLA to compile the steps of dense networks, which makes them
        1.4 to 2.9 times as fast, and not those of convolutional or recurrent ones, which it makes
        slower on a CPU, nor those of more than 20 inner steps, which it compiles for a minute
        before the first of them runs (`jit_compile=True` does it all the same). Under XLA padded
        rows that come after the first meta-batch are not told from real ones if the learner cannot
        leave them out ("auto" then does without XLA).
        """
        fitting.compile(self, super().compile, optimizer, loss, metrics, kwargs)

    def prepare(self, episodes: tf.data.Dataset) -> None:
        """Check a `tf.data.Dataset` of episodes, with a ValueError, and build what is not built."""
        episode_checks.prepare(self, episodes)

    def fit(
        self, x: Any = None, y: None = None, *, epochs: int = 1, steps_per_epoch: int | None = None,
        validation_data: Any = None, **kwargs,
    ) -> keras.callbacks.History:  # fmt: skip
        """As `keras.Model.fit`, over a `tf.data.Dataset` of meta-batched `Episode`.

        With `tfmeta.callbacks.BackupAndRestore`, a run that was stopped goes on with the episodes
        that it would have seen next; with Keras's, too, from the beginning of an epoch.
        """
        kwargs |= {"epochs": epochs, "validation_data": validation_data}
        return fitting.fit(self, super().fit, x, y, steps_per_epoch, kwargs)

    def evaluate(self, x: Any = None, y: None = None, *, steps: int | None = None, **kwargs) -> Any:
        """As `keras.Model.evaluate`, over a `tf.data.Dataset` of meta-batched `Episode`."""
        return fitting.evaluate(self, super().evaluate, x, y, steps, kwargs)

    def predict(self, x: tf.data.Dataset, *, steps: int | None = None, **kwargs) -> Any:
        """Query outputs of every episode after adaptation, `[episodes, M, ...]`."""
        return fitting.predict(self, super().predict, x, steps, kwargs)

    def train_on_batch(self, x: Episode, **kwargs) -> Any:
        """One outer step on one meta-batch, an `Episode` of arrays `[B, rows, ...]`."""
        return fitting.on_batch(self, super().train_on_batch, "train_on_batch", x, kwargs)

    def test_on_batch(self, x: Episode, **kwargs) -> Any:
        """Loss and metrics on one meta-batch, an `Episode` of arrays `[B, rows, ...]`."""
        return fitting.on_batch(self, super().test_on_batch, "test_on_batch", x, kwargs)

    def predict_on_batch(self, x: Episode) -> Any:
        """Query outputs of one meta-batch, as in `train_on_batch`."""
        x = episode_checks.as_meta_batch(self, x)
        return self.predict(tf.data.Dataset.from_tensors(x), verbose=0)

    def get_metrics_result(self):
        before = self.before_adaptation.result() if self.before_adaptation is not None else {}
        return super().get_metrics_result() | before

    def reset_metrics(self):
        super().reset_metrics()
        if self.before_adaptation is not None:
            self.before_adaptation.reset()

    def _symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: Keras would call the network on an Episode; `prepare` has built everything."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: it would take the mean of a meta-batch over devices, which fails on several."""

    # Files.

    def save(self, filepath, *args, **kwargs):
        """As `keras.Model.save`, to a `.keras` file."""
        saved_in_keras.check_path(self, filepath)
        return super().save(filepath, *args, **kwargs)

    def load_weights(self, filepath, *args, **kwargs):
        """As `keras.Model.load_weights`; a file that was cut short is named, and changes nothing.

        Raises:
            ValueError: the file is cut short or damaged.
        """
        return saved_in_keras.load_weights(super().load_weights, filepath, *args, **kwargs)

    def export(
        self, filepath: Path, format: str = "tf_saved_model", *,
        like: Examples | Episode | None = None,
    ) -> None:  # fmt: skip
        """Write the learner for programs that learn new tasks without tfmeta.

        There are two signatures, for any number of rows: `adapt`, from `x`, `y` and, where the
        learner leaves padding out, `mask` to tensors whose names begin with "adapted", and
        `predict_query`, from these and `x` to `outputs`. What is there already is replaced when
        the new one is whole.

        Args:
            filepath: a folder, or a `.tflite` file.
            format: "tf_saved_model", for TensorFlow and TensorFlow Serving, with a note of shapes,
                preprocessing and versions in `assets/tfmeta.json`; or "litert", for LiteRT, of
                its own operations alone, which no learner of gradient steps does with.
            like: `Examples`, a support set like those to come, or an `Episode` of one task. None
                for rows as the learner saw them last; it is wanted where nothing says what
                targets look like, and for pictures of uint8, which the graph then scales.

        Raises:
            ValueError: the learner is not built, LiteRT lacks an operation, nothing says what
                targets look like, or something else than an export is at `filepath`.
        """
        files.export(self, filepath, format, like)

    def get_config(self):
        return saved_in_keras.config(self)

    @classmethod
    def from_config(cls, config):
        return cls(**saving.constructor_arguments(config))

    def get_build_config(self):
        return saved_in_keras.build_config(self, super().get_build_config)

    def build_from_config(self, config):
        saved_in_keras.build_from_config(self, super().build_from_config, config)

    def compile_from_config(self, config):
        saved_in_keras.compile_from_config(self, config)

    # Arguments.

    def __setattr__(self, name, value):
        saving.set_attribute(self, super().__setattr__, name, value)

    #: Of some arguments: a function `(learner, name, value)` to the value that is set, or an error.
    argument_checks: Any = MappingProxyType({})

    def fixed_arguments(self):
        """Names of arguments that weights or layers were made of: they cannot be set any more."""
        return frozenset()

    def arguments_changed(self):
        """Called after an argument of the constructor was changed as an attribute."""

    @classmethod
    def refused_arguments(cls):
        """Names of arguments that the constructor of a base takes and this learner refuses."""
        return frozenset()

    @classmethod
    def search_space(cls, hp):
        """What is worth tuning (`tfmeta.tuning`): nothing, unless a learner says so.

        Args:
            hp: `keras_tuner.HyperParameters`, or anything with its methods.

        Returns:
            Arguments of the constructor, each under the name of its hyperparameter.
        """
        return {}
