"""The house: direction of the imports, length of the files, public names, by reading the source."""

import ast
import inspect
import json
import pathlib

import pytest

import tfmeta

PACKAGE = pathlib.Path(tfmeta.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
GOLDEN = pathlib.Path(__file__).parent / "golden" / "public_names.json"

VALUES = {"hints", "rows", "types", "arguments", "inputs", "loops", "reading", "stream"}
# Each group may import these, and itself.
ALLOWED = {
    "version": set(),
    "hints": set(),
    "rows": set(),
    "types": {"hints", "rows"},
    "arguments": set(),
    "inputs": {"types"},
    "loops": set(),
    "reading": {"rows", "types", "inputs"},
    "stream": {"arguments"},
    "networks": {"hints"},
    "backend": VALUES,
    "ops": VALUES | {"backend"},
    "inner": VALUES | {"backend", "ops", "version"},
    "engine": VALUES | {"backend", "ops", "inner", "version"},
    "learners": VALUES | {"backend", "ops", "inner", "engine", "environments"},
    "datasets": VALUES | {"ops"},
    "episodes": VALUES | {"ops"},
    "environments": VALUES | {"ops"},
    "distribution": VALUES | {"ops"},
    "evaluation": VALUES
    | {"backend", "ops", "inner", "engine", "environments", "learners", "version"},
    "callbacks": VALUES
    | {"backend", "ops", "inner", "engine", "learners", "evaluation", "version"},
    "serving": VALUES | {"backend", "ops", "inner", "engine", "learners", "evaluation"},
    "tuning": VALUES | {"backend", "ops", "inner", "engine", "learners", "evaluation"},
    "demo": VALUES | {"learners", "serving"},
}


def imported_groups(path):
    """The groups of tfmeta that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write out `from tfmeta.group.file import x`"
            names = [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.split(".")[0] == "tfmeta" and "." in n)


# Kinds within a family, and algorithms that are another one with a part changed, have one more.
KINDS = {"ParticleLearner", "GradientPolicy", "ActorCritic", "MAMLPPO", "LatentNP", "ProtoNet"}


@pytest.mark.parametrize("name", sorted(tfmeta.learners.__all__))
def test_a_learner_is_at_most_three_classes_from_keras(name):
    classes = [c.__name__ for c in inspect.getmro(getattr(tfmeta.learners, name))]
    if "MetaModel" in classes[1:]:
        bases = classes[1 : classes.index("MetaModel")]
        assert classes[len(bases) + 2] == "Model"
        assert len([c for c in bases if c not in KINDS]) <= 1
        assert len(bases) <= 3


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way_and_files_are_short(path):
    # Keras's methods, most of one line each, are one class in one file.
    most = 420 if path.name == "meta_model.py" else 350
    assert len(path.read_text().splitlines()) <= most
    if path.parent == PACKAGE and path.name == "__init__.py":
        return
    group = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    wrong = set(imported_groups(path)) - ALLOWED[group] - {group}
    assert not wrong, f"{group} must not import {wrong}"


def public_names():
    groups = [name for name in tfmeta.__all__ if name in ALLOWED]
    return {"tfmeta": sorted(tfmeta.__all__)} | {
        f"tfmeta.{group}": sorted(getattr(tfmeta, group).__all__) for group in sorted(groups)
    }


def test_public_names():
    found, expected = (
        {f"{group}.{name}" for group, names in listed.items() for name in names}
        for listed in (public_names(), json.loads(GOLDEN.read_text()))
    )
    assert found == expected, (
        f"Public names are gone: {sorted(expected - found)}, or new: {sorted(found - expected)}. "
        "If that is on purpose, `.venv/bin/python tests/test_imports.py` writes the list anew."
    )


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(public_names(), indent=1) + "\n")
