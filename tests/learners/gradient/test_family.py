"""What the gradient learners promise beside MAML: equivalences, closed forms, their own errors."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import assert_gradients_of_maml, compiled, outer_gradients

import tfmeta
from tfmeta.learners import (
    ALFA,
    ANIL,
    BOIL,
    CAVIA,
    MAML,
    Finetune,
    ImplicitMAML,
    MetaCurvature,
    MetaSGD,
    Reptile,
)
from tfmeta.learners.gradient.adapted_part import AllWeights

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize("first_order", [False, True])
def test_meta_sgd_with_equal_rates_is_maml(convolutional, first_order):
    assert_gradients_of_maml(
        lambda network: MetaSGD(network, first_order=first_order, **RATE),
        convolutional,
        first_order=first_order,
        **RATE,
    )


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize("cls", [ANIL, BOIL])
def test_a_subset_of_every_layer_is_maml(cls, convolutional):
    def learner(network):
        names = [layer.name for layer in network.layers if layer.trainable_variables]
        return cls(network, adapted_layers=names, **RATE)

    assert_gradients_of_maml(learner, convolutional, **RATE)


@pytest.mark.parametrize("convolutional", [False, True])
def test_alfa_with_constant_outputs_is_maml(convolutional):
    assert_gradients_of_maml(lambda n: ALFA(n, weight_decay=0.0, **RATE), convolutional, **RATE)


def test_alfa_makes_rates_and_decays_of_means():
    """One step on known parameters, against NumPy."""
    network = tasks.line()
    learner = compiled(ALFA(network, inner_learning_rate=0.1, inner_steps=1, weight_decay=0.5))
    random = np.random.default_rng(0)
    for variable in learner.meta_parameters.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    kernel_1, kernel_2, bias_1, bias_2, scales = [
        v.numpy() for v in learner.meta_parameters.trainable_variables
    ]
    support = tasks.one(tasks.regression().support)
    x, y = np.array(support.x)[:, 0], np.array(support.y)[:, 0]
    error = 0.5 * x + 0.2 - y
    slopes = [np.mean(2 * error * x), np.mean(2 * error)]
    means = np.array([0.5, 0.2, *slopes])
    h = (np.maximum(means @ kernel_1 + bias_1, 0) @ kernel_2 + bias_2) * scales[0]
    expected = [(1 - h[2]) * 0.5 - h[0] * slopes[0], (1 - h[3]) * 0.2 - h[1] * slopes[1]]
    found = [np.ravel(w)[0] for w in learner.adapt(support).weights]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_alfa_has_parameters_for_its_own_steps():
    with pytest.raises(ValueError, match=r"Expected evaluation_steps <= inner_steps.*Received"):
        ALFA(tasks.dense(), inner_steps=2, evaluation_steps=3)
    learner = compiled(ALFA(tasks.dense(), inner_steps=2))
    with pytest.raises(ValueError, match=r"Expected at most 2 inner steps.*Received: 3"):
        learner.adapt(tasks.one(tasks.regression().support), inner_steps=3)


@pytest.mark.parametrize(("strength", "damping"), [(0.5, 0.0), (4.0, 0.0), (0.5, 2.0)])
def test_implicit_maml_in_closed_form(strength, damping):
    """Support loss |Xv - y|^2 / n: the minimum, and the derivative of it, by linear algebra."""
    episodes = tasks.regression(tasks=2, rows=6, width=3, dtype="float64")
    network = keras.Sequential(
        [keras.Input((3,), dtype="float64"), keras.layers.Dense(1, use_bias=False, dtype="float64")]
    )
    learner = compiled(
        ImplicitMAML(
            network,
            regularization=strength,
            inner_learning_rate=0.1,
            inner_steps=400,
            cg_steps=3,
            cg_damping=damping,
        )
    )
    start, expected = network.get_weights()[0], []
    for i in range(2):
        x, y, query_x, query_y = (
            np.array(getattr(e, axis)[i]) for e in episodes for axis in ("x", "y")
        )
        hessian, eye = 2 * x.T @ x / len(x), np.eye(3)
        solution = np.linalg.solve(
            hessian + strength * eye, 2 * x.T @ y / len(x) + strength * start
        )
        slope = 2 * query_x.T @ (query_x @ solution - query_y) / len(query_x)
        expected.append(np.linalg.solve(eye + hessian / (strength + damping), slope))
    (found,) = outer_gradients(learner, episodes)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-6)


def test_implicit_maml_with_dropout_has_one_minimum():
    """Units that change between the steps look like curvature, and bring the rate to nothing."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dropout(0.5)])
    network.add(keras.layers.Dense(1, use_bias=False))
    learner = compiled(
        ImplicitMAML(network, inner_learning_rate=0.1, inner_steps=40, regularization=1e-3)
    )
    line = tfmeta.Examples(np.linspace(1, 2, 20)[:, None], np.linspace(1, 2, 20)[:, None])
    slopes = np.diff(learner.adapt(line, training=True).inner_losses)
    assert np.all(slopes <= 1e-6)
    assert slopes[0] < -1e-2


@pytest.mark.parametrize("convolutional", [False, True])
def test_implicit_maml_with_a_strong_pull_is_joint_training(convolutional):
    """The solution is then the initialisation, and its derivative the identity."""
    network, loss = tasks.dense(dtype="float64"), "mse"
    episodes = tasks.regression(dtype="float64")
    if convolutional:
        network, loss = tasks.convolutional(dtype="float64"), tasks.CROSSENTROPY
        episodes = tasks.images(dtype="float64")
    pulled = ImplicitMAML(
        network, regularization=1e11, inner_learning_rate=1e-12, inner_steps=1, cg_steps=2
    )
    found = outer_gradients(compiled(pulled, loss), episodes)
    expected = outer_gradients(compiled(MAML(network, inner_steps=0), loss), episodes)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("convolutional", [False, True])
def test_meta_curvature_at_the_identity_is_maml(convolutional):
    assert_gradients_of_maml(lambda network: MetaCurvature(network, **RATE), convolutional, **RATE)


def test_meta_curvature_bends_each_axis():
    """One step on known matrices, against NumPy."""
    network = tasks.convolutional(norm=False)
    curved = compiled(MetaCurvature(network, inner_learning_rate=0.1), tasks.CROSSENTROPY)
    plain = compiled(MAML(network, inner_learning_rate=0.1), tasks.CROSSENTROPY)
    random = np.random.default_rng(0)
    for variable in curved.meta_parameters.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    support = tasks.one(tasks.images().support)
    start = [w.numpy() for w in network.trainable_variables]
    moved, unbent = (np.array(m.adapt(support).weights[2]) for m in (curved, plain))
    kernel = start[2]
    assert kernel.shape == (3, 3, 3, 4)
    # After those of the first kernel and bias: out, in and places.
    out, inputs, places = (v.numpy() for v in curved.meta_parameters.trainable_variables[4:7])
    gradient = ((kernel - unbent) / 0.1).reshape(9, 3, 4)
    bent = np.einsum("sio,po,qi,rs->rqp", gradient, out, inputs, places).reshape(kernel.shape)
    np.testing.assert_allclose(moved, kernel - 0.1 * bent, rtol=1e-3, atol=1e-5)


def test_cavia_with_all_biases_for_its_context_is_maml_on_the_biases():
    class Biases(AllWeights):
        def positions(self, learner):
            weights = learner.network_weights()
            return [i for i, w in enumerate(weights) if w.path.endswith("bias")]

    class OnlyBiases(MAML):
        adapted_part = Biases()

    episodes = tasks.regression(dtype="float64")
    network = tasks.dense(dtype="float64")
    units = [layer.units for layer in network.layers]
    names = [layer.name for layer in network.layers]
    learner = compiled(CAVIA(network, context_size=sum(units), context_layers=names, **RATE))
    selections = np.split(np.eye(sum(units)), np.cumsum(units)[:-1], axis=1)
    for variable, columns in zip(learner.meta_parameters.variables, selections, strict=True):
        variable.assign(columns)
    expected = outer_gradients(compiled(OnlyBiases(tasks.dense(dtype="float64"), **RATE)), episodes)
    found = outer_gradients(learner, episodes)
    for a, b in zip(found, expected, strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_cavia_in_a_dense_layer_is_a_context_among_the_inputs():
    network = tasks.dense()
    learner = compiled(CAVIA(network, context_size=2, inner_learning_rate=0.5))
    first = network.layers[0]
    (matrix,) = learner.meta_parameters.trainable_variables
    support = tasks.one(tasks.regression().support)
    x = np.array(support.x)

    def loss(context):
        inputs = tf.concat([x, tf.tile(context[None], (len(x), 1))], 1)
        kernel = tf.concat([first.kernel, matrix], 0)
        outputs = first.activation(inputs @ kernel + first.bias)
        for layer in network.layers[1:]:
            outputs = layer(outputs)
        return tf.reduce_mean((outputs - support.y) ** 2)

    context = tf.zeros(2)
    with tf.GradientTape() as tape:
        tape.watch(context)
        value = loss(context)
    context -= 0.5 * tape.gradient(value, context)
    adapted = learner.adapt(support)
    found = np.mean((learner.predict_query(adapted, x) - support.y) ** 2)
    np.testing.assert_allclose(found, loss(context), rtol=1e-5)


def test_cavia_shifts_the_normalisation_after_the_first_layer():
    network = tasks.convolutional()
    learner = CAVIA(network)
    paths = [learner.network_weights()[i].path.rsplit("/", 1)[-1] for i in learner.shifted()]
    assert paths == ["beta", "gamma"]
    head = network.layers[-1].name
    learner = CAVIA(network, context_layers=[head])
    (position,) = learner.shifted()
    assert learner.network_weights()[position] is network.layers[-1].bias


def test_meta_sgd_in_closed_form():
    """Support loss (w-s)^2, query loss (w-q)^2: dL/da = -2 (w_1 - q) 2 (w - s)."""
    network = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    learner = compiled(MetaSGD(network, inner_learning_rate=0.1))
    ones = tf.ones((1, 1, 1))
    support, query = (tfmeta.Examples(ones, y * ones, ones[..., 0]) for y in (3.0, -1.5))
    episodes = tfmeta.Episode(support, query)
    moved = 1.0 - 0.1 * 2 * (1.0 - 3.0)
    by_weight, by_rate = outer_gradients(learner, episodes)
    np.testing.assert_allclose(by_weight, [[2 * (moved + 1.5) * (1 - 0.2)]], rtol=1e-5)
    np.testing.assert_allclose(by_rate, [[2 * (moved + 1.5) * -2 * (1.0 - 3.0)]], rtol=1e-5)


def test_meta_sgd_learns_its_rates():
    learner = compiled(MetaSGD(tasks.dense(), **RATE))
    learner.fit(tasks.dataset(tasks.regression(), 3), verbose=0)
    rates = learner.meta_parameters.trainable_variables
    assert [r.shape for r in rates] == [w.shape for w in learner.network.trainable_variables]
    assert all(np.ptp(r.numpy()) > 0 for r in rates if r.numpy().size > 1)


@pytest.mark.parametrize(("cls", "changes"), [(ANIL, {"head"}), (BOIL, {"body", "neck"})])
def test_subsets_change_their_layers_alone(cls, changes):
    layers = [keras.layers.Dense(4, "tanh", name=name) for name in ("body", "neck")]
    network = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1, name="head")])
    learner = compiled(cls(network, **RATE))
    adapted = learner.adapt(tasks.one(tasks.regression().support))
    for variable, value in zip(network.trainable_variables, adapted.weights, strict=True):
        moved = not np.array_equal(variable.numpy(), value)
        assert moved == (variable.path.split("/")[-2] in changes)
    # Every weight is meta-learned all the same.
    assert all(np.any(g) for g in outer_gradients(learner, tasks.regression()))


def test_subset_of_layers_in_a_model_within():
    body = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4), keras.layers.Dense(4)])
    body.name = "body"
    network = keras.Sequential([keras.Input((1,)), body, keras.layers.Dense(1, name="head")])
    assert ANIL(network, adapted_layers=["body"]).adapted_positions() == [0, 1, 2, 3]
    assert ANIL(network).adapted_positions() == [4, 5]
    assert BOIL(network).adapted_positions() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda n: ANIL(n, adapted_layers=["hed"]),
            r"Expected adapted_layers .*Received: \['hed'\]",
        ),
        (lambda n: ANIL(n, adapted_layers=[]), r"Expected adapted_layers to name"),
        (lambda n: BOIL(n, adapted_layers="dense"), r"no list\. Give \['dense'\]"),
        (lambda n: ALFA(n, inner_steps=0), r"Expected inner_steps .* at least 1.*=0"),
        (lambda n: ALFA(n, weight_decay=-1.0), r"Expected weight_decay >= 0.*Received: -1.0"),
        (lambda n: ImplicitMAML(n, regularization=0), r"Expected regularization > 0"),
        (lambda n: ImplicitMAML(n, cg_steps=0), r"Expected cg_steps .*Received: cg_steps=0"),
        (lambda n: ImplicitMAML(n, cg_damping=-1), r"Expected cg_damping >= 0.*Received: -1"),
        (lambda n: CAVIA(n, context_size=0), r"Expected context_size .*=0"),
        (lambda n: CAVIA(n, context_layers=["x"]), r"Expected context_layers .*Received: \['x'\]"),
        (lambda n: ImplicitMAML(n, first_order=True), r"Expected no first_order: ImplicitMAML"),
        (lambda n: Reptile(n, inner_batch_size=0), r"Expected inner_batch_size .*=0"),
        (lambda n: MetaSGD(n, inner_learning_rate=0), r"Expected inner_learning_rate > 0"),
        (lambda n: MAML(n, inner_learning_rate="0.1"), r"inner_learning_rate > 0.*Received: '0.1'"),
        (lambda n: MAML(n, inner_learning_rate=np.inf), r"a finite number. Received: inf"),
        (lambda n: MAML(n, inner_steps=None), r"inner_steps to be an integer.*=None"),
        (lambda n: MAML(n, first_order="no"), r"first_order to be True or False. Received: 'no'"),
        (lambda n: Finetune(n, inner_steps=2), r"Expected no inner_steps.*Received: inner_steps=2"),
        (lambda n: CAVIA(n, context_layers=3), r"Expected context_layers to name .*Received: 3"),
        (
            lambda n: CAVIA(n, context_layers=[n.layers[0].name] * 2),
            r"Expected context_layers to name .*Received",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(tasks.dense())


@pytest.mark.parametrize("cls", [Finetune, ImplicitMAML, Reptile])
def test_first_order_is_refused_where_it_means_nothing(cls):
    learner = cls(tasks.dense())
    with pytest.raises(ValueError, match=f"Expected no first_order: {cls.__name__}"):
        learner.first_order = True
    cls.from_config(learner.get_config())


def test_boil_needs_a_body():
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Expected a network with a body below its head"):
        BOIL(network)


def test_implicit_maml_has_one_graph_for_any_number_of_steps():
    """What a step of the inner loop needs is forgotten before the next one."""
    sizes = []
    for steps in (5, 100):
        learner = compiled(ImplicitMAML(tasks.dense(), inner_steps=steps), jit_compile=False)
        graph = tf.function(learner.outer_gradients).get_concrete_function(tasks.regression()).graph
        sizes.append(len(graph.get_operations()))
    assert sizes[0] == sizes[1]
