"""Bad input that concerns the inner loop: what was expected, what came, what to change."""

import warnings

from tfmeta.arguments import check_integer


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


def check_fixed_arguments(learner, name, value):
    """An argument that parameters were made for does not change."""
    made = learner.__dict__.get("rule") is not None
    if made and name in learner.fixed_arguments() and value != getattr(learner, name):
        raise ValueError(
            f"Expected {name} to stay {getattr(learner, name)!r}: {type(learner).__name__} has "
            f"made parameters for it. Received: {value!r}. Make another learner; for fewer inner "
            "steps on new tasks set evaluation_steps."
        )


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
