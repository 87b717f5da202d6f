"""What a program without tfmeta and Keras does with exported learners: run by test_export.py.

    python tensorflow_alone.py FOLDER

For each `NAME/` in the folder, a SavedModel, it adapts to the support set in `NAME.npz`, predicts,
and writes `NAME.npy`. Where there is a second support set of another size, `x_2` and `y_2`, it
does so again, `NAME_2.npy`.
"""

import json
import pathlib
import sys

sys.modules["tfmeta"] = sys.modules["keras"] = None  # an import of them is an error

import numpy as np
import tensorflow as tf


def learn_and_predict(model, x, y, query):
    adapt, predict_query = (model.signatures[name] for name in ("adapt", "predict_query"))
    given = {"x": x, "y": y, "mask": np.ones(len(x), "float32")}
    adapted = adapt(**{name: tf.constant(given[name]) for name in given if takes(adapt, name)})
    given = {"x": query, "mask": np.ones(len(query), "float32")}
    rest = {name: tf.constant(given[name]) for name in given if takes(predict_query, name)}
    return predict_query(**adapted, **rest)["outputs"].numpy()


def takes(signature, name):
    return name in signature.structured_input_signature[1]


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.npz")):
    folder, arrays = path.with_suffix(""), np.load(path)
    model = tf.saved_model.load(str(folder))
    assert json.loads((folder / "assets" / "tfmeta.json").read_text())["versions"]["tfmeta"]
    for end in ("", "_2"):
        task = (arrays[f"x{end}"], arrays[f"y{end}"], arrays["query"])
        np.save(f"{folder}{end}.npy", learn_and_predict(model, *task))
assert not any(
    name.split(".")[0] in ("tfmeta", "keras") and module for name, module in sys.modules.items()
)
print("done")
