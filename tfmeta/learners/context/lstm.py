"""A recurrent network that learns by its state: the LSTM learner, and with GRU."""

import keras

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.learners.context import recurrence
from tfmeta.learners.context.sequence import SequenceLearner

CELLS = {"lstm": recurrence.LSTMCell, "gru": recurrence.GRUCell}


@keras.saving.register_keras_serializable("tfmeta")
class LSTMLearner(SequenceLearner):
    """Read examples and their labels into the state of an LSTM, which is all that is adapted.

    With features `f(x_t)` of row t and the target `y_{t-1}` of the row before, which is zero at the
    first row, an LSTM (or GRU) of `H` units reads

        h_t, c_t = LSTM([f(x_t), y_{t-1}], h_{t-1}, c_{t-1}),    outputs_t = W h_t + b

    over the support rows in their order. A query row is read as the row after the last one, from
    the same state. Labels are one-hot.

    Meta-learned: all weights, which hold how to learn. Adapted: the state; no weight changes.

    Differs from the paper: what Hochreiter et al. feed in is the same, but for functions, and they
    train along one long sequence of several tasks; here the state is new in each task. Santoro et
    al. train `score_support=True` as here, on sequences of 50 rows (`tfmeta.episodes.sequence`).

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), or None for the inputs as they are, flattened. For pictures one with
            normalisation: nothing was learned from the small features of `conv4(..., norm=None)`.
        cell: "lstm" or "gru".
        units: `H`. Santoro et al.: 200.
        ways: number of classes that labels may name; not used where targets are numbers.
        score_support: True trains each support row's prediction from the rows before it, too.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Hochreiter, Younger and Conwell, "Learning to Learn Using Gradient Descent", ICANN 2001;
        Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016, section 4
        (the LSTM there is the baseline).
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        cell: str = "lstm",
        units: int = 200,
        ways: int = 5,
        score_support: bool = True,
        **kwargs,
    ):
        super().__init__(network, ways=ways, score_support=score_support, **kwargs)
        if cell not in CELLS:
            raise ValueError(f"Expected cell in {tuple(CELLS)}. Received: {cell!r}.")
        self.cell, self.units = cell, check_integer("units", units, 1)
        self.recurrence = CELLS[cell](self.units, dtype=self.dtype_policy)

    def fixed_arguments(self):
        return {"cell", "units"}

    def read(self, x, y, mask, training=False):
        return recurrence.read(self, x, y, mask)

    def answer(self, memory, x, training=False):
        return recurrence.answer(self, memory, x)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "cell": hp.Choice("cell", list(CELLS), default=default_argument(cls, "cell")),
            "units": hp.Int(
                "units", 32, 512, sampling="log", default=default_argument(cls, "units")
            ),
        }
