"""What a `.keras` file keeps of a learner: the arguments that its constructor was called with."""

import difflib
import functools
import inspect
import itertools
import re

import keras

from tfmeta.engine import kept


def record_arguments(cls, args, kwargs):
    """The arguments of `cls(*args, **kwargs)` by name, defaults included.

    Keras does this for layers, but not for models.
    """
    signature = inspect.signature(cls.__init__)
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:  # `__init__` is about to say what is wrong
        return {}
    bound.apply_defaults()
    arguments = dict(list(bound.arguments.items())[1:])
    for parameter in signature.parameters.values():
        if parameter.kind == inspect.Parameter.VAR_KEYWORD:
            arguments |= arguments.pop(parameter.name)
    return arguments


class ReadyAfterInit(type(keras.Model)):  # type: ignore[misc]
    """The type of learners' classes: `ready` is called when the whole constructor is through."""

    def __call__(cls, *args, **kwargs):
        try:
            learner = super().__call__(*args, **kwargs)
        except ValueError as error:
            if f"keyword arguments passed to {cls.__name__}" not in str(error):  # Keras's words
                raise
            raise _unknown_arguments(cls, kwargs) from None
        learner.ready()
        learner.__dict__["_is_ready"] = True
        return learner

    @property
    def __signature__(cls):
        """What help and notebooks show: the arguments in the place of `**kwargs`."""
        return constructor_signature(cls)


def _unknown_arguments(cls, kwargs):
    """The error for arguments that a learner does not have, with those that come near."""
    known = [name for name in constructor_signature(cls).parameters]
    unknown = [name for name in kwargs if name not in known]
    words = [re.sub(r"(^|_)lr($|_)", r"\1learning_rate\2", name) for name in unknown]
    near = [n for word in words for n in difflib.get_close_matches(word, known, 1, 0.75)]
    meant = f" Did you mean {', '.join(near)}?" if near else ""
    return ValueError(
        f"Expected arguments of {cls.__name__}: {', '.join(known)}. "
        f"Received: {', '.join(unknown)}.{meant}"
    )


@functools.cache
def constructor_signature(cls):
    """The arguments of a learner's class, those included that it hands on in `**kwargs`."""
    found = {}
    for parameters in _parameters(cls):
        own = not found
        for name, parameter in list(parameters.items())[1:]:
            # Only the first constructor is called with arguments by place.
            named = own or parameter.kind in _MANY or name in found
            kind = parameter.kind if named else inspect.Parameter.KEYWORD_ONLY
            found.setdefault(name, parameter.replace(kind=kind))
        if all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            break
    else:  # Keras's own, which are not in its signature
        for name in ("name", "dtype"):
            found.setdefault(name, inspect.Parameter(name, _KEYWORD, default=None))
    refused = cls.refused_arguments()
    shown = [p for p in found.values() if p.kind not in _MANY and p.name not in refused]
    return inspect.Signature(sorted(shown, key=lambda p: p.kind))


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@functools.cache
def argument_names(cls):
    """Names of the constructor's arguments, also of those that it hands on in `**kwargs`."""
    return frozenset(name for parameters in _parameters(cls) for name in parameters)


@functools.cache
def takes(cls, name):
    """True if the constructor takes an argument of this name, itself or in `**kwargs`."""
    for parameters in _parameters(cls):
        if name in parameters:
            return True
        if all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


def default_argument(cls, name):
    """The default of a constructor's argument, also of one that is handed on in `**kwargs`."""
    for parameters in _parameters(cls):
        if name in parameters:
            return parameters[name].default
    raise ValueError(f"Expected an argument of {cls.__name__}. Received: {name!r}.")


def _parameters(cls):
    """Of the constructors of a learner's class and of its bases, but for Keras's own."""
    for base in itertools.takewhile(lambda base: base is not keras.Model, cls.__mro__):
        if "__init__" in vars(base):
            yield inspect.signature(base.__init__).parameters


def learner_config(learner, arguments):
    """A config from recorded arguments; an attribute of the same name is more up to date."""

    def current(name, value):
        found = getattr(learner, name, value)
        # What `MetaModel` declares for all learners is not what this one was given.
        return value if found is None and name not in vars(learner) else found

    config = {
        name: keras.saving.serialize_keras_object(current(name, value))
        for name, value in arguments.items()
        if name not in ("name", "dtype")
    }
    if "dtype" in arguments:
        config["dtype"] = keras.dtype_policies.serialize(learner.dtype_policy)
    takes = inspect.signature(type(learner).__init__).parameters.values()
    if any(p.name == "name" or p.kind == inspect.Parameter.VAR_KEYWORD for p in takes):
        config["name"] = learner.name
    return config


def set_attribute(learner, keras_set, name, value):
    """`MetaModel.__setattr__`; the first is the learner, the second Keras's own method."""
    is_argument = name in argument_names(type(learner))
    if is_argument:
        check = learner.argument_checks.get(name)
        value = value if check is None else check(learner, name, value)
        _check_is_free(learner, name, value)
    # The first value is the constructor's, which is recorded where the caller gave it.
    changed = is_argument and (name in vars(learner) or "_is_ready" in vars(learner))
    keras_set(name, value)
    if changed:
        argument_changed(learner, name, value)
    kept.attribute_was_set(learner, name)


def _check_is_free(learner, name, value):
    """A ValueError for a new value of an argument that something was made of."""
    # A gradient learner makes its rule when its network is built, others all in the constructor.
    made = "_is_ready" in vars(learner) and vars(learner).get("rule", learner) is not None
    if not made or name not in learner.fixed_arguments():
        return
    current = getattr(learner, name, learner._recorded_arguments().get(name))
    if value is not current and value != current:
        steps = "; for fewer inner steps on new tasks set evaluation_steps"
        raise ValueError(
            f"Expected {name} to stay {current!r}: {type(learner).__name__} has made parameters "
            f"for it. Received: {value!r}. Make another learner"
            f"{steps if name == 'inner_steps' else ''}."
        )


def argument_changed(learner, name, value):
    """Note a new value of a constructor's argument, and trace compiled steps anew."""
    if takes(type(learner), name):
        learner._recorded_arguments()[name] = value
    learner.arguments_changed()
    # `inner_steps` and the like are constants in the compiled steps.
    for step in ("train", "test", "predict"):
        if getattr(learner, f"{step}_function", None) is not None:
            getattr(learner, f"make_{step}_function")(force=True)


def constructor_arguments(config):
    """The inverse of `learner_config`."""
    return {
        name: keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
        for name, value in config.items()
    }
