"""Search for a learner's arguments, with keras-tuner."""

__all__ = ["MetaHyperModel"]


def __getattr__(name):
    # Late: `import tfmeta` must not need keras-tuner.
    if name == "MetaHyperModel":
        from tfmeta.tuning.hyper_model import MetaHyperModel

        return MetaHyperModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
