"""Code that readers copy: found in docstrings and pages, made small, and run.

An example stands in a fence of Python. It runs as it is, but for sizes: one epoch of one step, few
episodes, small networks. Names that it takes for granted (`train`, `learner`, ...) are made by a
function each, which the tests give.
"""

import ast
import re

import tensorflow as tf

FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SIZES = {
    "count": 4,
    "epochs": 1,
    "every": 1,
    "filters": 4,
    "max_trials": 1,
    "meta_batch_size": 2,
    "save_freq": 1,
    "steps_per_epoch": 1,
}
# What is large unless it is told: the argument of these functions that says it.
DEFAULT_SIZES = {
    r"evaluate_(episodes|returns)|score_(curve|likelihood|rejection|sequence)": "count",
    r"conv4": "filters",
}


class Smaller(ast.NodeTransformer):
    """The same program with small sizes."""

    def visit_Call(self, node):
        self.generic_visit(node)
        for keyword in node.keywords:
            if keyword.arg in SIZES and isinstance(keyword.value, ast.Constant):
                keyword.value = ast.Constant(SIZES[keyword.arg])
        name = getattr(node.func, "attr", "")
        for pattern, size in DEFAULT_SIZES.items():
            if re.fullmatch(pattern, name) and all(k.arg != size for k in node.keywords):
                node.keywords.append(ast.keyword(size, ast.Constant(SIZES[size])))
        return node

    def visit_Constant(self, node):
        """A folder that several machines share is one of the test's own."""
        if isinstance(node.value, str) and node.value.startswith("/shared/"):
            return ast.Constant(node.value.removeprefix("/shared/"))
        return node


def blocks(text):
    """Python programs in the fences of a page or of a docstring."""
    return FENCE.findall(text)


def run(programs, ground, eagerly=True):
    """Run the programs one after another, as a reader of a page does who copies all of them.

    Args:
        programs: list of str.
        ground: dict from a name to a function `() -> value`, called where a program uses a name
            that none before it has defined.
        eagerly: whether to do without tracing, which is what takes the time of such small steps.

    Returns:
        The names that the programs have left.
    """
    names = {}
    tf.config.run_functions_eagerly(eagerly)
    try:
        for program in programs:
            tree = ast.fix_missing_locations(Smaller().visit(ast.parse(program)))
            for name in names_taken_for_granted(tree):
                if name in ground and name not in names:
                    names[name] = ground[name]()
            exec(compile(tree, "<example>", "exec"), names)
    finally:
        tf.config.run_functions_eagerly(False)
    return names


def names_taken_for_granted(tree):
    """Names that a program reads and does not define before, in the order of the lines."""
    defined = set()
    for statement in tree.body:
        nodes = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
        yield from (n.id for n in nodes if isinstance(n.ctx, ast.Load) and n.id not in defined)
        defined |= {n.id for n in nodes if isinstance(n.ctx, ast.Store)}
        for node in ast.walk(statement):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                defined.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                defined |= {(a.asname or a.name).split(".")[0] for a in node.names}
