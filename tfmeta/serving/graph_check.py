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
#: Parts of the names of operations without state that reach out of the graph all the same.
REFUSED = (
    *("File", "Dataset", "Debug", "PyFunc", "ImmutableConst", "Vocab", "Reader", "Copy", "Mlir"),
    *("TPU", "Tpu"),
)


def check_graphs(path):
    """A ValueError if what runs of a SavedModel could read or write files, or call out.

    Looked at is every function that can be called once the model is loaded, with all that they
    call. TensorFlow writes functions that save and restore next to them, which nothing calls.

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
    library = {f.signature.name: f for f in graph.graph_def.library.function}
    waiting, seen = list(graph.object_graph_def.concrete_functions), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in library:
            continue
        seen.add(name)
        for node in library[name].node_def:
            if node.op not in library:
                _check_operation(node.op, path)
            waiting += [node.op, *_called(node)]
    for asset in graph.asset_file_def:
        if "/" in asset.filename or "\\" in asset.filename or asset.filename.startswith("."):
            raise ValueError(
                f"Expected files of the SavedModel's own. Received: {asset.filename!r} in {path}."
            )


def _called(node):
    """Names of the functions that a node is given."""
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)


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
