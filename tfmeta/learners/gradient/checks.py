"""Bad input that concerns the inner loop: what was expected, what came, what to change."""

import warnings

from tfmeta.arguments import check_flag, check_integer, check_number


def check_evaluation_steps(evaluation_steps, most_steps):
    """Of a learner with parameters for each inner step."""
    if None not in (evaluation_steps, most_steps) and evaluation_steps > most_steps:
        raise ValueError(
            "Expected evaluation_steps <= inner_steps, which there are learned parameters for. "
            f"Received: evaluation_steps={evaluation_steps}, inner_steps={most_steps}."
        )


def check_inner_steps(learner, steps, weights):
    """The inner loop has weights to change, and parameters for as many steps."""
    check_integer("inner_steps", steps, 0)
    if learner.most_steps is not None and steps > learner.most_steps:
        raise ValueError(
            f"Expected at most {learner.most_steps} inner steps: {type(learner).__name__} learns "
            f"parameters for each of its inner_steps. Received: {steps}. Train with more "
            "inner_steps, or take fewer (evaluation_steps)."
        )
    if not weights:
        raise ValueError(
            "Expected a network with trainable weights. Received: none. Set trainable = True."
        )


def _check_steps(learner, name, value):
    if name == "evaluation_steps" and value is None:
        return None
    return check_integer(name, value, 0)


def _check_first_order(learner, name, value):
    if check_flag(name, value) and not learner.takes_first_order:
        raise ValueError(
            f"Expected no first_order: {type(learner).__name__} takes no derivative through its "
            f"inner loop. Received: first_order={value}. Leave it out."
        )
    return value


def _check_flag(learner, name, value):
    return check_flag(name, value)


#: Of arguments, when they are made and when they are changed.
OF_ARGUMENTS = {
    "inner_learning_rate": lambda learner, name, value: check_number(name, value),
    "inner_steps": _check_steps,
    "evaluation_steps": _check_steps,
    "first_order": _check_first_order,
    "transductive": _check_flag,
    "checkpoint_inner_steps": _check_flag,
}


def check_weights_with_parameters(learner):
    """What is learned besides the weights was made for those that are trainable now."""
    if learner.meta_parameters is None:
        return
    made_for, now = learner._made_for(), learner.weights_with_parameters()
    if [id(v) for v in made_for] != [id(v) for v in now]:
        raise ValueError(
            f"Expected the trainable weights that {type(learner).__name__} has made parameters "
            f"for, {[v.path for v in made_for]}. Received: {[v.path for v in now]}. Freeze layers "
            "before you make the learner."
        )


def warn_of_constraints(learner, weights):
    """A constraint that only the outer loop keeps is said."""
    names = [w.path for w in weights if w.constraint is not None]
    if names:
        warnings.warn(
            f"Expected weights without a constraint, which the inner loop of "
            f"{type(learner).__name__} does not keep. Received: one of {', '.join(names)}. It "
            "holds in the outer loop alone; leave it out, or take another learner.",
            stacklevel=4,
        )


def unreached(names, positions):
    """The error for weights that the support loss does not depend on."""
    return ValueError(
        "Expected the support loss to depend on every trainable weight. Received: no gradient for "
        f"{[names[i] for i in positions]}. Remove these layers from the network, or set their "
        "`trainable = False`."
    )
