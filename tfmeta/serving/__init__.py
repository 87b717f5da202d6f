"""Serve an exported learner: new tasks over HTTP, in the form of TensorFlow Serving's REST API."""

from tfmeta.serving.exported import Exported, load
from tfmeta.serving.limits import Limits
from tfmeta.serving.web import application, server

__all__ = ["Exported", "Limits", "application", "load", "server"]
