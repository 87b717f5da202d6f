"""What is loaded of an export, and what is refused: a stranger's file must not do more."""

import contextlib
import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from serving import exports

from tfmeta import serving
from tfmeta.backend.private import read_saved_model
from tfmeta.learners import ProtoNet
from tfmeta.serving.graph_check import check_graphs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "learner"
    exports.protonet().export(path)
    return path


@pytest.fixture(scope="module")
def exported(folder):
    return serving.load(folder)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_loaded_export_learns_and_predicts_as_the_learner(exported):
    learner, support = exports.protonet(), exports.support()
    adapted = exported.adapt({"x": support.x, "y": support.y.tolist()})
    outputs = exported.predict_query(adapted, {"x": support.x[:2].tolist()})
    expected = learner.predict_query(learner.adapt(support), support.x[:2])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    fewer = exported.adapt({"x": support.x[:5], "y": support.y[:5]})
    padded = exported.adapt({"x": support.x, "y": support.y, "mask": [1, 1, 1, 1, 1, 0]})
    for name, value in fewer.items():
        np.testing.assert_allclose(padded[name], value, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
)
def test_a_truncated_or_missing_file_is_named(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"Expected a whole SavedModel, {name} of .* bytes"):
        serving.load(copy)
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"{name}, which is missing"):
        serving.load(copy)


def test_a_truncated_note_and_no_export_are_said(copy, tmp_path):
    note = copy / "assets" / "tfmeta.json"
    whole = note.read_text()
    for content in (whole[:100], "[]", '{"signatures": {}}'):
        note.write_text(content)
        with pytest.raises(ValueError, match=r"Received: .*tfmeta\.json, truncated"):
            serving.load(copy)
    with pytest.raises(ValueError, match="Expected the folder of a learner's export"):
        serving.load(tmp_path)
    # The same number of bytes, of which nothing can be made.
    note.write_text(whole)
    graph = copy / "saved_model.pb"
    graph.write_bytes(b"\xff" * graph.stat().st_size)
    with pytest.raises(ValueError, match=r"saved_model\.pb, which cannot be read"):
        serving.load(copy)


class Stranger(tf.Module):
    """A SavedModel that does something on the side, in a function of a function."""

    def __init__(self, act):
        super().__init__()
        self.act = tf.function(act)

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def adapt(self, x):
        with tf.control_dependencies([tf.cond(x[0] > 0, self.act, self.act)]):
            return {"adapted": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], name="adapted")])
    def predict_query(self, adapted):
        return {"outputs": adapted}


@pytest.mark.parametrize("operation", ["WriteFile", "ReadFile", "EagerPyFunc", "[a-zA-Z]*Dataset"])
def test_what_reaches_out_of_the_graph_is_refused_before_it_is_loaded(operation, copy, tmp_path):
    target = tmp_path / "written"

    def act():
        if operation == "WriteFile":
            tf.io.write_file(str(target), "by a stranger")
        elif operation == "ReadFile":
            tf.io.read_file("/etc/hostname")
        elif operation == "EagerPyFunc":
            tf.py_function(lambda: target.write_text("by a stranger"), [], tf.int64)
        else:
            next(iter(tf.data.TextLineDataset("/etc/hostname").take(1)))
        return tf.constant(0)

    model = Stranger(act)
    signatures = {name: getattr(model, name) for name in ("adapt", "predict_query")}
    tf.saved_model.save(model, str(copy), signatures=signatures)
    note = json.loads((copy / "assets" / "tfmeta.json").read_text())
    note["bytes"] = {n: (copy / n).stat().st_size for n in note["bytes"] if (copy / n).is_file()}
    (copy / "assets" / "tfmeta.json").write_text(json.dumps(note))
    with pytest.raises(ValueError, match=f"Received: the operation '{operation}'"):
        serving.load(copy)
    assert not target.exists()


def with_note(folder, note):
    """The note of another export, with the size of the graph here."""
    size = (folder / "saved_model.pb").stat().st_size
    (folder / "assets").mkdir(exist_ok=True)
    content = json.loads(note.read_text()) | {"bytes": {"saved_model.pb": size}}
    (folder / "assets" / "tfmeta.json").write_text(json.dumps(content))


def test_the_form_of_tensorflow_1_is_refused_which_runs_a_program_when_it_is_loaded(
    folder, tmp_path
):
    target, v1 = tmp_path / "written", tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder("float32", [None], name="x")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"adapted": tf.identity(x)})
        builder = v1.saved_model.Builder(str(tmp_path / "model"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={"adapt": signature, "predict_query": signature},
            main_op=tf.io.write_file(str(target), "by a stranger"),
        )
        builder.save()
    with_note(tmp_path / "model", folder / "assets" / "tfmeta.json")
    with pytest.raises(ValueError, match="in the form of TensorFlow 1, which may run anything"):
        serving.load(tmp_path / "model")
    assert not target.exists()


def unlisted(graph, name):
    """Named by an object alone, not in the list of functions."""
    node = graph.object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = name


def nested(graph, name):
    """Given to a function that another one is given to."""
    called = first_function(graph).node_def.add(op="PartitionedCall", name="call")
    called.attr["f"].func.name = "another"
    called.attr["f"].func.attr["g"].func.name = name


def gradient(graph, name):
    """The gradient of a function."""
    of = first_function(graph).signature.name
    graph.graph_def.library.gradient.add(function_name=of, gradient_func=name)


def twin(graph, name):
    """TensorFlow may take one for the other."""
    (function,) = (f for f in graph.graph_def.library.function if f.signature.name == name)
    function.attr["api_implements"].s = b"another"


def first_function(graph):
    """One that the model's own list names."""
    names = graph.object_graph_def.concrete_functions
    return next(f for f in graph.graph_def.library.function if f.signature.name in names)


@pytest.mark.parametrize("hide", [None, unlisted, nested, gradient, twin])
def test_a_function_that_is_called_behind_the_back_may_not_save(hide, folder, copy):
    """Nothing calls those that TensorFlow writes to save and restore; what is called may not."""
    model = read_saved_model((copy / "saved_model.pb").read_bytes())
    (graph,) = model.meta_graphs
    evil = graph.graph_def.library.function.add()
    evil.signature.name = "evil"
    evil.node_def.add(op="SaveV2", name="save")
    if hide is not None:
        hide(graph, "evil")
    (copy / "saved_model.pb").write_bytes(model.SerializeToString())
    if hide is None:
        check_graphs(copy / "saved_model.pb")
    else:
        with pytest.raises(ValueError, match="Received: the operation 'SaveV2'"):
            check_graphs(copy / "saved_model.pb")
    evil.node_def[0].op = "WriteFile"
    (copy / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="Received: the operation 'WriteFile'"):
        check_graphs(copy / "saved_model.pb")


@pytest.mark.parametrize("name", ["../evil", "/etc/hostname", "a\\b", ".."])
def test_an_asset_outside_of_the_folder_is_refused(name, copy):
    model = read_saved_model((copy / "saved_model.pb").read_bytes())
    model.meta_graphs[0].asset_file_def.add(filename=name)
    (copy / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="Expected files of the SavedModel's own"):
        check_graphs(copy / "saved_model.pb")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": "support"}, r"Expected the inputs mask, x, y. Received: x"),
        ({"x": "support", "y": "support", "z": [1]}, r"Received: x, y, z"),
        ({"x": [[1, 2], [3]], "y": [0, 1]}, r"of shape \[rows, 4, 4, 1\].* differ in length"),
        ({"x": [1.0], "y": [0]}, r"Expected x of shape \[rows, 4, 4, 1\]. Received: \[1\]"),
        ({"x": [["a"]], "y": [0]}, r"Expected numbers in x"),
        ({"x": "support", "y": [0.0] * 6}, r"Expected integers in y. Received: float64"),
        ({"x": "support", "y": [True] * 6}, r"Expected integers in y. Received: bool"),
        ({"x": "support", "y": [2**40] * 6}, r"Expected y in -2147483648\.\.2147483647"),
        ({"x": "support", "y": [10**30] * 6}, r"Expected integers in y"),
        ({"x": "support", "y": [0, 1, 2, 3, 4, 6]}, r"class labels 0\.\.5 in y. Received: 6"),
        ({"x": "support", "y": [0, 1, 2, 3, 4, -1]}, r"class labels 0\.\.5 in y. Received: -1"),
        ({"x": "support", "y": [0, 1]}, r"as many rows"),
        ({"x": np.full((6, 4, 4, 1), np.nan), "y": "support"}, r"finite numbers in x"),
        ({"x": np.full((6, 4, 4, 1), 1e300), "y": "support"}, r"finite numbers in x"),
        ({"x": "support", "y": "support", "mask": [0] * 6}, r"a mask of 0 and 1"),
    ],
)
def test_inputs_that_the_learner_does_not_take_are_said(exported, values, message):
    support = exports.support()
    values = {k: getattr(support, k) if isinstance(v, str) else v for k, v in values.items()}
    with pytest.raises(ValueError, match=message):
        exported.adapt(values)


def test_a_keras_file_with_a_lambda_is_not_run(tmp_path):
    """Keras refuses Python code of a file, and nothing of tfmeta asks it for less."""
    target = tmp_path / "written"
    place = str(target)
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Lambda(lambda x: (open(place, "w").close(), x)[1])]
    )
    ProtoNet(network).save(tmp_path / "learner.keras")
    target.unlink()
    with pytest.raises(ValueError, match="safe_mode"):
        keras.models.load_model(tmp_path / "learner.keras")
    assert not target.exists()


def edited(path, change):
    """A `.keras` file with another `config.json`, and more members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("os", "mkdir", "PLACE"),
        ("subprocess", "run", {"args": ["mkdir", "PLACE"]}),
        ("builtins", "exec", "import os; os.mkdir('PLACE')"),
        ("keras.utils", "get_file", {"fname": "evil", "origin": "file:///etc/hostname",
                                     "cache_dir": "PLACE"}),
    ],
)  # fmt: skip
def test_a_keras_file_that_names_other_code_runs_none(module, name, arguments, tmp_path):
    exports.protonet().save(tmp_path / "learner.keras")
    place = tmp_path / "made"
    arguments = json.loads(json.dumps(arguments).replace("PLACE", str(place)))

    def change(members):
        config = json.loads(members["config.json"])
        layer = config["config"]["network"]["config"]["layers"][-1]
        layer |= {"module": module, "class_name": name, "registered_name": name}
        layer["config"] = arguments
        return members | {"config.json": json.dumps(config)}

    edited(tmp_path / "learner.keras", change)
    with pytest.raises((TypeError, ValueError)):
        keras.models.load_model(tmp_path / "learner.keras")
    assert not place.exists()


def test_a_keras_file_writes_nowhere_else(tmp_path):
    """Members with paths that lead out are left out, or the file is refused."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    path = tmp_path / "a" / "b" / "learner.keras"
    exports.protonet().save(path)
    outside = ("../evil", "assets/../../evil", str(tmp_path / "evil"), "../../evil")
    edited(path, lambda members: members | dict.fromkeys(outside, b"by a stranger"))
    before = sorted(tmp_path.rglob("*"))
    with contextlib.suppress(OSError, ValueError):
        keras.models.load_model(path)
    assert sorted(tmp_path.rglob("*")) == before
