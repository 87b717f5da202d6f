"""What learned policies are compared with: what one does who knows how tasks are drawn, or which.

All play many tasks at once in NumPy, and return the rewards of each.
"""

import functools

import numpy as np

GRID = np.linspace(0.0, 1.0, 501)  # retirement rewards that an arm is compared with


@functools.cache
def gittins_indices(pulls, discount=1.0):
    """The finite-horizon Gittins index of a Bernoulli arm of uniform prior.

    With `n` pulls left, an arm that paid `s` times and failed `f` times is worth the reward `m` a
    pull for which one would as soon pull it, with leave to change to `m` for good later on, as take
    `m` from now on. It is found where the two sides cross on a grid of `m`, linear in between.

    Args:
        pulls: steps there are, T.
        discount: of later rewards, 1 for none.

    Returns:
        `[T + 1, T + 1, T + 1]`, by pulls left, successes and failures; NaN where these are more
        than T together, and where no pull is left.

    Reference:
        Gittins, Glazebrook and Weber, "Multi-armed bandit allocation indices", 2011, section 8;
        Kaufmann, "On Bayesian index policies for sequential resource allocation", Annals of
        Statistics 2018, section 2.2.
    """
    found = np.full((pulls + 1,) * 3, np.nan)
    value = np.zeros((pulls + 2, pulls + 2, len(GRID)))  # with the pulls left, by s, f and m
    paid, failed = np.indices((pulls + 1, pulls + 1))
    chance = ((paid + 1) / (paid + failed + 2))[..., np.newaxis]
    for left in range(1, pulls + 1):
        size = pulls - left + 1  # successes and failures are fewer
        p = chance[:size, :size]
        success, failure = value[1 : size + 1, :size], value[:size, 1 : size + 1]
        pulled = p * (1 + discount * success) + (1 - p) * discount * failure
        retired = GRID * sum(discount**t for t in range(left))
        gain = pulled - retired  # falls along the grid, from at least 0 to at most 0
        after = np.clip(np.argmax(gain < 0, axis=-1), 1, None)[..., np.newaxis]
        above, below = (np.take_along_axis(gain, i, -1)[..., 0] for i in (after - 1, after))
        after = after[..., 0]
        index = GRID[after - 1] + (GRID[1] - GRID[0]) * above / (above - below)
        inside = paid[:size, :size] + failed[:size, :size] < size
        found[left, :size, :size] = np.where(inside, index, np.nan)
        value = np.zeros_like(value)
        value[:size, :size] = np.maximum(pulled, retired)
    return found


def gittins(paid, failed, left, rng):
    """The arm of the largest index, one at random of equal ones: for `play_bandits`."""
    index = gittins_indices(int(left + (paid + failed).sum(axis=1).max()))[left, paid, failed]
    return (index + 1e-9 * rng.random(index.shape)).argmax(axis=1)


def thompson_sampling(paid, failed, left, rng):
    """The best arm if chances were as drawn from their posterior: for `play_bandits`."""
    return rng.beta(paid + 1, failed + 1).argmax(axis=1)


def play_bandits(choose, chances, pulls, seed=0):
    """Lets a strategy pull the arms of Bernoulli bandits.

    Args:
        choose: function of the times that each arm paid and failed, int `[tasks, arms]`, of the
            pulls left and of a NumPy generator, to arms `[tasks]`.
        chances: of the arms, `[tasks, arms]`.
        pulls: steps.
        seed: int.

    Returns:
        Rewards `[tasks, pulls]`.
    """
    rng = np.random.default_rng(seed)
    paid, failed = np.zeros((2, *chances.shape), int)
    rows, rewards = np.arange(len(chances)), np.zeros((len(chances), pulls))
    for t in range(pulls):
        arm = choose(paid, failed, pulls - t, rng)
        rewards[:, t] = rng.random(len(chances)) < chances[rows, arm]
        paid[rows, arm] += rewards[:, t] == 1
        failed[rows, arm] += rewards[:, t] == 0
    return rewards


def value_iteration(rewards, transitions, horizon, discount=1.0):
    """The best actions of known Markov decision processes, and what they earn in expectation.

    Args:
        rewards: means, `[tasks, states, actions]`.
        transitions: `[tasks, states, actions, states]`.
        horizon: steps of an episode.
        discount: of later rewards.

    Returns:
        `(actions, values)`: `[horizon, tasks, states]`, the best action in a state at each step,
        and `[tasks, states]`, the expected return of an episode from each state.
    """
    values, actions = np.zeros(rewards.shape[:2]), []
    for _ in range(horizon):
        following = np.einsum("esat,et->esa", transitions, values, optimize=True)
        of_actions = rewards + discount * following
        actions.append(of_actions.argmax(axis=-1))
        values = of_actions.max(axis=-1)
    return np.array(actions[::-1]), values


def psrl(counts, sums, horizon, rng):
    """The best actions in processes that are drawn from the posterior: for `play_mdps`.

    Transitions have a flat Dirichlet prior; means of rewards are normal around 1 with variance 1,
    as the rewards are around them.

    Reference:
        Strens, "A Bayesian framework for reinforcement learning", ICML 2000; Osband et al., "(More)
        efficient reinforcement learning via posterior sampling", NIPS 2013.
    """
    drawn = rng.standard_gamma(counts + 1.0)
    precision = 1.0 + counts.sum(axis=-1)
    means = (1.0 + sums) / precision + rng.normal(size=sums.shape) / np.sqrt(precision)
    return value_iteration(means, drawn / drawn.sum(axis=-1, keepdims=True), horizon)[0]


def random_choice(counts, sums, horizon, rng):
    """Any action: for `play_mdps`."""
    tasks, states, actions = sums.shape
    return rng.integers(actions, size=(horizon, tasks, states))


def play_mdps(plan, rewards, transitions, horizon, episodes, seed=0):
    """Lets a strategy that plans before each episode act in Markov decision processes.

    Args:
        plan: function of the times that each state followed, `[tasks, states, actions, states]`, of
            the sums of rewards `[tasks, states, actions]`, of the horizon and of a NumPy generator,
            to actions `[horizon, tasks, states]`.
        rewards, transitions: as in `value_iteration`; rewards have variance 1.
        horizon, episodes: steps of an episode, which begins in state 0, and their number.
        seed: int.

    Returns:
        Returns `[tasks, episodes]`.
    """
    rng = np.random.default_rng(seed)
    counts, sums = np.zeros(transitions.shape), np.zeros(rewards.shape)
    rows, returns = np.arange(len(rewards)), np.zeros((len(rewards), episodes))
    ladder = np.cumsum(transitions, axis=-1)[..., :-1]
    for episode in range(episodes):
        state = np.zeros(len(rewards), int)
        for actions in plan(counts, sums, horizon, rng):
            at = rows, state, actions[rows, state]
            reward = rewards[at] + rng.normal(size=len(rewards))
            state = (ladder[at] <= rng.random((len(rewards), 1))).sum(axis=-1)
            counts[(*at, state)] += 1
            sums[at] += reward
            returns[:, episode] += reward
    return returns
