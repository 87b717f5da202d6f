"""Regression episodes: each task is one function of a family."""

import functools
import math
from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.episodes.family_checks import (
    check_families,
    check_names,
    check_noise,
    check_range,
    in_shape_of,
)
from tfmeta.hints import Nest
from tfmeta.ops import random_numbers as rng
from tfmeta.stream import check_stream, stream
from tfmeta.types import Episode, Examples


class Family(Protocol):
    """What `family` makes of a function."""

    draws: int  # random numbers that a task's parameters take

    def __call__(
        self, shots: int = 10, queries: int = 10, meta_batch_size: int = 25, seed: int = 0,
        count: int | None = None, *, noise: float | Callable = 0.0, start: int = 0, step: int = 1,
        **ranges: tuple[float, float] | str,
    ) -> tf.data.Dataset:  # fmt: skip
        """Meta-batches of episodes."""

    def parameters(
        self, numbers: Nest, seed: int = 0, **ranges: tuple[float, float] | str
    ) -> dict[str, Any]:
        """The parameters of tasks, by their numbers."""


def family(
    *, inputs: tuple[float, float] | Callable = (-5.0, 5.0), **ranges: tuple[float, float] | str
) -> Callable[[Callable], Family]:
    """Make regression episodes of a function of x and of parameters drawn for each task.

    The function, decorated, becomes one that returns a `tf.data.Dataset`:

    ```python
    @tfmeta.episodes.family(slope=(-3.0, 3.0))
    def ray(x, slope):
        return slope * x


    ray(shots=5, meta_batch_size=25)  # endless meta-batches
    ray.parameters([0, 1, 2], seed=0)  # {"slope": the first three tasks' slopes}
    ```

    Arguments of the new function: `shots=10` and `queries=10`, support and query points a task;
    `meta_batch_size=25`; `seed=0`; `count=None`, the number of tasks, the same on every pass, None
    for an endless stream; and by name `start=0` and `step=1`, the number of the first episode and
    the distance between neighbours: worker w of W passes `start=w, step=W`, a run that resumes
    after i episodes `start=i`. Its elements are `Episode(support, query)`, each `Examples` of
    float32 x `[B, K, 1]`, y `[B, K, 1]` and mask `[B, K]` (ones). x is one tensor, since y has its
    shape; tasks whose x is a nest are made from these by `tf.data.Dataset.map`, of an `Episode` to
    an `Episode`. Two more arguments by name change the tasks: a range for one of its parameters,
    `ray(slope=(0.0, 1.0))` (and in `ray.parameters`), and `noise=0`, the standard deviation of
    normal noise on y, support and query alike: a number, or a function of the parameters, as in
    `ray(noise=lambda slope: 0.1 * abs(slope))`. Episode number i depends on `shots`, `queries`,
    `seed`, ranges, `noise` and i only, its parameters on `seed`, ranges and i only. A range of one
    number, `(1.0, 1.0)`, takes no random number.

    Args:
        inputs: `(low, high)`, the range that x is uniform in; or a function of a standard normal
            number `[E, rows, 1]` and the parameters `[E, 1, 1]` to x.
        **ranges: for each parameter `(low, high)`, the range that it is uniform in, or "normal"
            for a standard normal one.

    Returns:
        A decorator of functions `(x [E, rows, 1], **parameters [E, 1, 1])` to y `[E, rows, 1]`;
        y of fewer rows, such as a parameter alone, is repeated.

    Raises:
        ValueError: a range is none; of the new function, an argument is out of range, or its y has
            another shape than x.
    """
    if not callable(inputs):
        inputs = check_range("inputs", inputs, "a function")
    draws = {name: _Distribution(name, given) for name, given in ranges.items()}
    drawn = sum(draw.takes_bits for draw in draws.values())

    def draw_inputs(bits, parameters):
        if callable(inputs):
            normal = rng.normal(bits)
            return in_shape_of(normal, inputs(normal, **parameters), "inputs")
        return rng.uniform(bits, *inputs)

    def draw_parameters(bits):
        rows = iter(tf.unstack(bits))
        none = tf.zeros([tf.shape(bits)[1]])
        return {n: draw(next(rows) if draw.takes_bits else none) for n, draw in draws.items()}

    def decorate(value):
        def with_ranges(**others):
            check_names(value.__name__, others, ranges)
            return family(inputs=inputs, **(ranges | others))(value)

        return _episodes_of(value, drawn, draw_parameters, draw_inputs, with_ranges)

    return decorate


def mixture(*families: Family) -> Family:
    """Episodes whose tasks come from several families, each as likely as the others.

    ```python
    modes = tfmeta.episodes.mixture(tfmeta.episodes.sinusoid, tfmeta.episodes.line)
    modes(shots=10, meta_batch_size=25)
    modes.parameters([0, 1])  # {"family": 0 or 1, "sinusoid": {...}, "line": {...}}
    ```

    Args:
        *families: functions that `family` made, at least two.

    Returns:
        A function like those of `family`. Its parameters are the number of a task's family,
        int32, and what each family draws, whether it is the task's or not.

    Raises:
        ValueError: fewer than two families, two of one name, one named "family", or something
            else.
    """
    names = check_families(families)
    counts = [f.draws for f in families]

    def draw_parameters(bits):
        which, *rest = tf.split(bits, [1, *counts])
        drawn = {n: f.from_bits(b) for n, f, b in zip(names, families, rest, strict=True)}
        return {"family": rng.integers(which[0], len(families)), **drawn}

    def choose(call, parameters):
        which = parameters["family"]
        results = [call(f, parameters[n]) for n, f in zip(names, families, strict=True)]
        picks = [tf.where(which == i, r, tf.zeros_like(r)) for i, r in enumerate(results)]
        return tf.add_n(picks)

    def value(x, **parameters):
        return choose(lambda f, own: f.value(x, **own), parameters)

    def draw_inputs(bits, parameters):
        return choose(lambda f, own: f.inputs(bits, own), parameters)

    value.__name__ = "_or_".join(names)
    value.__doc__ = f"Tasks of the families {', '.join(names)}."

    def with_ranges(**others):
        check_names(value.__name__, others, ())

    return _episodes_of(value, 1 + sum(counts), draw_parameters, draw_inputs, with_ranges)


def _examples(draw_inputs, outputs, noise, bits, parameters):
    """`Examples` `[E, rows, 1]` of functions.

    Args:
        draw_inputs: `(bits, parameters) -> x`, of shapes `[E, rows, 1]`.
        outputs: `(x, **parameters) -> y`.
        noise: standard deviation, a number or a function of the parameters; 0 for none.
        bits: of the inputs and of the noise, each `[rows, E]`; the second is not read for none.
        parameters: dict of tensors `[E, 1, 1]`.
    """
    of_inputs, of_noise = (tf.transpose(b)[:, :, tf.newaxis] for b in bits)
    x = draw_inputs(of_inputs, parameters)
    y = outputs(x, **parameters)
    if noise:
        scale = noise(**parameters) if callable(noise) else noise
        y += in_shape_of(x, scale, "noise") * rng.normal(of_noise)
    return Examples(x, y, tf.ones_like(x[:, :, 0]))


def _drawn(bits, draw_parameters, draw_inputs, outputs, noise):
    """Episodes from the bits of their parameters, of both inputs and of both noises."""
    own, *bits = bits
    parameters = tf.nest.map_structure(lambda p: p[:, tf.newaxis, tf.newaxis], draw_parameters(own))
    parts = zip(bits[:2], bits[2:], strict=True)
    return Episode(*(_examples(draw_inputs, outputs, noise, p, parameters) for p in parts))


def _episodes_of(value, draws, draw_parameters, draw_inputs, with_ranges):
    """The function that a family is: see `family`."""

    def outputs(x, **parameters):
        return in_shape_of(x, value(x, **parameters), episodes.__name__)

    def episodes(
        shots: int = 10, queries: int = 10, meta_batch_size: int = 25, seed: int = 0,
        count: int | None = None, *, noise: float | Callable = 0.0, start: int = 0, step: int = 1,
        **ranges: tuple[float, float] | str,
    ) -> tf.data.Dataset:  # fmt: skip
        if ranges:
            same = {"noise": noise, "start": start, "step": step}
            return with_ranges(**ranges)(shots, queries, meta_batch_size, seed, count, **same)
        noise = check_noise(noise)
        shots, queries = check_integer("shots", shots, 1), check_integer("queries", queries, 1)
        seed, numbering = check_stream(meta_batch_size, seed, count, start, step)

        # Noise last: without it the tasks are the same.
        sizes = [draws, shots, queries, *([shots, queries] if noise else [0, 0])]

        def sample(numbers):
            bits = tf.split(rng.random_bits(seed, numbers, sum(sizes)), sizes)
            return _drawn(bits, draw_parameters, draw_inputs, outputs, noise)

        return stream(sample, **numbering)

    same = ("__module__", "__name__", "__qualname__", "__doc__")
    functools.update_wrapper(episodes, value, assigned=same)
    del episodes.__wrapped__  # its arguments are others
    episodes.parameters = _parameters_of(draws, draw_parameters, with_ranges)
    episodes.value, episodes.inputs = outputs, draw_inputs
    episodes.draws, episodes.from_bits = draws, draw_parameters
    return episodes


def _parameters_of(draws, draw_parameters, with_ranges):
    """The method `parameters` of the function that a family is."""

    def parameters(
        numbers: Nest, seed: int = 0, **ranges: tuple[float, float] | str
    ) -> dict[str, Any]:
        """The parameters of tasks, for plots.

        Args:
            numbers: integers `[E]`, episode numbers.
            seed: the seed given to the episodes.
            **ranges: the ranges given to them.

        Returns:
            dict of tensors `[E]`, one a parameter.
        """
        if ranges:
            return with_ranges(**ranges).parameters(numbers, seed)
        numbers = tf.convert_to_tensor(numbers, tf.int64)
        return draw_parameters(rng.random_bits(check_integer("seed", seed), numbers, draws))

    return parameters


class _Distribution:
    """What a parameter is drawn from: a function of bits `[E]` to numbers `[E]`."""

    def __init__(self, name, given):
        self.is_normal = isinstance(given, str) and given == "normal"
        self.range = None if self.is_normal else check_range(name, given, '"normal"')
        # A constant takes none: that a constant becomes a parameter changes no episode.
        self.takes_bits = self.is_normal or self.range[0] < self.range[1]

    def __call__(self, bits):
        if self.is_normal:
            return rng.normal(bits)
        if not self.takes_bits:
            return tf.fill(tf.shape(bits), self.range[0])
        return rng.uniform(bits, *self.range)


@family(amplitude=(0.1, 5.0), phase=(0.0, math.pi), frequency=(1.0, 1.0))
def sinusoid(x, amplitude, phase, frequency):
    """Meta-batches of sinusoids, `y = amplitude * sin(frequency * x - phase)`.

    The amplitude is uniform in 0.1..5, the phase in 0..pi, the frequency is 1, x is uniform in
    -5..5. Arguments and elements: `tfmeta.episodes.family`; the parameters of the tasks:
    `sinusoid.parameters`. Harder tasks, with noise of a hundredth of the amplitude:

    ```python
    tfmeta.episodes.sinusoid(
        frequency=(0.5, 2.0),
        phase=(0.0, 2 * math.pi),
        noise=lambda amplitude, **_: 0.01 * amplitude,
    )
    ```

    Reference:
        Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep
        networks" (2017), section 5.1. https://arxiv.org/abs/1703.03400
    """
    return amplitude * tf.sin(frequency * x - phase)


@family(slope=(-3.0, 3.0), intercept=(-3.0, 3.0))
def line(x, slope, intercept):
    """Meta-batches of lines, `y = slope * x + intercept`.

    Slope and intercept are uniform in -3..3, x in -5..5. Arguments and elements:
    `tfmeta.episodes.family`; the parameters of the tasks: `line.parameters`.

    Reference:
        Finn, Xu and Levine, "Probabilistic model-agnostic meta-learning" (2018), whose tasks are
        `mixture(sinusoid, line)`, with noise. https://arxiv.org/abs/1806.02817
    """
    return slope * x + intercept


@family(slope=(-3.0, 3.0))
def linear(x, slope):
    """Meta-batches of lines through the origin, `y = slope * x`.

    The slope is uniform in -3..3, x in -5..5. One example without noise tells the task. Arguments
    and elements: `tfmeta.episodes.family`; the slopes: `linear.parameters`.
    """
    return slope * x


@family(inputs=(-2.0, 2.0), a=(-1.0, 1.0), b=(-1.0, 1.0), c=(-1.0, 1.0), d=(-1.0, 1.0))
def polynomial(x, a, b, c, d):
    """Meta-batches of cubic polynomials, `y = a + b x + c x^2 + d x^3`.

    The coefficients are uniform in -1..1, x in -2..2. Arguments and elements:
    `tfmeta.episodes.family`; the coefficients: `polynomial.parameters`.
    """
    return a + x * (b + x * (c + x * d))


def _around_center(normal, center, **_):
    return center + normal


@family(
    inputs=_around_center,
    center=(-4.0, 4.0),
    frequency=(5.0, 7.0),
    phase_1=(0.0, 2 * math.pi),
    phase_2=(0.0, 2 * math.pi),
    amplitude_1="normal",
    amplitude_2="normal",
)
def harmonic(x, center, frequency, phase_1, phase_2, amplitude_1, amplitude_2):
    """Meta-batches of two sine waves, the second of twice the frequency, without noise:

        y = amplitude_1 sin(frequency x + phase_1) + amplitude_2 sin(2 frequency x + phase_2)

    The frequency is uniform in 5..7, the phases in 0..2 pi, the amplitudes are standard normal;
    x is normal with standard deviation 1 around a center uniform in -4..4. Arguments and elements:
    `tfmeta.episodes.family`; the parameters of the tasks: `harmonic.parameters`.

    Reference:
        Lacoste et al., "Uncertainty in multitask transfer learning" (2018), as in torchmeta.
        https://arxiv.org/abs/1806.07528
    """
    first = amplitude_1 * tf.sin(frequency * x + phase_1)
    return first + amplitude_2 * tf.sin(2 * frequency * x + phase_2)
