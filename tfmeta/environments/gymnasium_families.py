"""Environments of Gymnasium that differ from task to task: what differs, and how it is set."""

import keras

# Of those that are made ready: what differs where nothing is given.
CARTPOLE = {"length": (0.25, 1.5), "masspole": (0.05, 0.5), "force_mag": (5.0, 15.0)}
PENDULUM = {"g": (5.0, 15.0), "m": (0.5, 1.5), "l": (0.5, 1.5)}
HALF_CHEETAH = {"direction": [-1.0, 1.0]}


def ready_made(id):
    """`(parameters, change)` of an id; parameters are None where none are made ready."""
    name = id.rsplit("-v", 1)[0]  # of another namespace it would be another environment
    families = {
        "CartPole": (CARTPOLE, change_cartpole),
        "Pendulum": (PENDULUM, set_attributes),
        "HalfCheetah": (HALF_CHEETAH, change_half_cheetah),
    }
    return families.get(name, (None, set_attributes))


@keras.saving.register_keras_serializable("tfmeta")
def set_attributes(env, task):
    """The environment with attributes of a task's names set to its values.

    Args:
        env: a `gymnasium.Env`.
        task: dict of floats.

    Returns:
        `env`.

    Raises:
        ValueError: the environment has no such attribute.
    """
    for name, value in task.items():
        if not hasattr(env.unwrapped, name):
            held = vars(env.unwrapped).items()
            numbers = [n for n, v in held if isinstance(v, float) and not n.startswith("_")]
            raise ValueError(
                f"Expected parameters that are attributes of {type(env.unwrapped).__name__}, such "
                f"as {', '.join(numbers) or 'none'}. Received: {name!r}. Give `change` a function "
                "of your own, (env, task) -> env."
            )
        setattr(env.unwrapped, name, value)
    return env


@keras.saving.register_keras_serializable("tfmeta")
def change_cartpole(env, task):
    """`set_attributes`, with the sums and products that CartPole keeps of them."""
    cart = set_attributes(env, task).unwrapped
    cart.total_mass = cart.masspole + cart.masscart
    cart.polemass_length = cart.masspole * cart.length
    return env


@keras.saving.register_keras_serializable("tfmeta")
def change_half_cheetah(env, task):
    """HalfCheetah with another reward: of a task's "direction", -1 or 1, or of its "velocity".

    With the speed `v` of a step and its cost of control `c`, as the environment has them, the
    reward is `direction * v - c`, or `-|v - velocity| - c`.

    Reference:
        Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep
        networks" (2017), section 5.3. arXiv:1703.03400
    """
    from gymnasium import Wrapper  # the environment is one of Gymnasium

    if set(task) not in ({"direction"}, {"velocity"}):
        raise ValueError(
            'Expected parameters "direction" or "velocity" of HalfCheetah. Received: '
            f"{', '.join(task)}. Give `change` a function of your own, (env, task) -> env."
        )

    class Rewarded(Wrapper):
        def step(self, action):
            observation, _, terminated, truncated, info = self.env.step(action)
            speed = float(info["x_velocity"])
            wanted = (
                task["direction"] * speed if "direction" in task else -abs(speed - task["velocity"])
            )
            reward = wanted + float(info["reward_ctrl"])
            return observation, reward, terminated, truncated, info

    return Rewarded(env)
