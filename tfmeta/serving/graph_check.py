"""What the graphs of a SavedModel may do: a file of a stranger's is a program of a stranger's."""

import tensorflow as tf

from tfmeta.backend.private import read_saved_model

#: Operations with state that learners are made of: variables, tables, random numbers, control flow.
ALLOWED = {
    *("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp"),
    *("DisableCopyOnRead", "DestroyResourceOp", "Assert"),
    *("StatefulPartitionedCall", "PartitionedCall", "If", "While", "Case", "SymbolicGradient"),
    *("HashTableV2", "MutableHashTableV2", "LookupTableFindV2", "LookupTableImportV2"),
    *("LookupTableSizeV2", "LookupTableExportV2"),
    *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
    *("RandomShuffle", "Multinomial"),
    *("TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3"),
    *("TensorArrayScatterV3", "TensorArraySizeV3"),
}
#: What TensorFlow writes functions of, which save and restore and which nothing calls.
SAVING = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "NoOp"}
#: Parts of the names of operations without state that reach out of the graph all the same.
REFUSED = (
    *("File", "Dataset", "Debug", "PyFunc", "ImmutableConst", "Vocab", "Reader", "Copy", "Mlir"),
    *("TPU", "Tpu"),
)


def check_graphs(path):
    """A ValueError if what runs of a SavedModel could read or write files, or call out.

    Looked at is every function. Those that nothing calls once the model is loaded may save and
    restore, which is what TensorFlow writes some for.

    Args:
        path: the file `saved_model.pb`.

    Raises:
        ValueError: an operation is not one of those, or the file cannot be read.
    """
    try:
        model = read_saved_model(path.read_bytes())
        (graph,) = model.meta_graphs
    except Exception:
        raise ValueError(
            f"Expected a whole SavedModel. Received: {path}, which cannot be read. Export it anew."
        ) from None
    if not graph.HasField("object_graph_def"):  # TensorFlow 1's, which runs whatever it likes
        raise ValueError(
            f"Expected a SavedModel of TensorFlow 2. Received: {path}, in the form of "
            "TensorFlow 1, which may run anything when it is loaded. Export it anew."
        )
    library = {f.signature.name: f for f in graph.graph_def.library.function}
    reached = _reached(graph, library)
    for name, function in library.items():
        for node in function.node_def:
            saves = name not in reached and node.op in SAVING
            if node.op not in library and not saves:
                _check_operation(node.op, path)
    for asset in graph.asset_file_def:
        if "/" in asset.filename or "\\" in asset.filename or asset.filename.startswith("."):
            raise ValueError(
                f"Expected files of the SavedModel's own. Received: {asset.filename!r} in {path}."
            )


def _reached(graph, library):
    """Names of the functions that can be called once a model is loaded, with all that they call."""
    waiting, seen = list(_roots(graph, library)), set()
    gradients = {g.function_name: g.gradient_func for g in graph.graph_def.library.gradient}
    while waiting:
        name = waiting.pop()
        if name in seen or name not in library:
            continue
        seen.add(name)
        waiting.append(gradients.get(name))
        for node in library[name].node_def:
            waiting += [node.op, *_called(node.attr)]
    return seen


def _roots(graph, library):
    """Names of functions that something else than a function calls."""
    objects = graph.object_graph_def
    yield from objects.concrete_functions
    for node in objects.nodes:  # the list above may leave some out
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name
        yield node.captured_tensor.concrete_function
    # TensorFlow puts one function in the place of another that says it does the same.
    yield from (name for name, function in library.items() if "api_implements" in function.attr)


def _called(attributes):
    """Names of the functions that a node is given, and of those that these are given."""
    for value in attributes.values():
        for function in (value.func, *value.list.func):
            yield function.name
            yield from _called(function.attr)


def _check_operation(name, path):
    try:
        operation = tf.Graph().op_def_for_type(name)
    except Exception:
        operation = None
    if operation is not None and name in ALLOWED:
        return
    if operation is None or operation.is_stateful or any(part in name for part in REFUSED):
        raise ValueError(
            "Expected a learner: variables and mathematics alone. Received: the operation "
            f"{name!r} in {path}, which may reach files, devices or other programs. Load it only "
            "if you trust who made it, by tf.saved_model.load."
        )
