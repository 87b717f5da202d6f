"""Writes the tables of learners into README.md and docs/learners.md, from the learners' docstrings.

    python tools/write_tables.py

README.md has a row a family, which is a folder of `tfmeta/learners`; docs/learners.md a row a
learner: what the first sentence of the docstring says, and the paper that its section "Reference"
begins with. `tests/test_readme.py` fails where the pages say something else.
"""

import importlib
import inspect
import pathlib
import re

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
LEARNERS = README.parent / "docs" / "learners.md"
FAMILY = ("family", "learners")
COLUMNS = ("learner", "what it does", "paper")
YEAR = r"\b(?:19|20)\d\d\b"


def learners():
    """The learners of `tfmeta.learners`, classes, by name."""
    import tfmeta  # here: TensorFlow is not needed to fill in tables

    exported = [getattr(tfmeta.learners, name) for name in tfmeta.learners.__all__]
    classes = [c for c in exported if inspect.isclass(c) and issubclass(c, tfmeta.MetaModel)]
    classes = [c for c in classes if not is_base(c, classes)]
    return sorted(classes, key=lambda c: c.__name__.casefold())


def learner_table():
    """The table in Markdown, a row for each learner, by name."""
    return markdown(COLUMNS, map(row, learners()))


def family_table():
    """The table in Markdown, a row for each family of learners."""
    families = {}
    for learner in learners():
        package = inspect.getmodule(learner).__name__.rpartition(".")[0]
        families.setdefault(package, []).append(f"`{learner.__name__}`")
    says = {name: inspect.getdoc(importlib.import_module(name)) for name in sorted(families)}
    return markdown(FAMILY, ((says[name], ", ".join(families[name])) for name in says))


def pages():
    """Path -> its text with the tables of today."""
    tables = {README: {"families": family_table()}, LEARNERS: {"learners": learner_table()}}
    return {path: filled(path.read_text(), named) for path, named in tables.items()}


def is_base(learner, classes):
    """True for a class that others derive from and that has no reference of its own."""
    derived = [c for c in classes if issubclass(c, learner) and c is not learner]
    return bool(derived) and not reference(learner)


def row(learner):
    """The cells of one learner."""
    summary = " ".join(inspect.cleandoc(learner.__doc__ or "").split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)\s+(?=[A-Z`])", summary)[0]
    try:
        return f"`{learner.__name__}`", sentence, paper(reference(learner))
    except ValueError as error:
        raise ValueError(f"{learner.__name__}: {error}") from None


def reference(learner):
    """The section "Reference" of a class's own docstring as one line, "" if there is none."""
    text = inspect.cleandoc(learner.__doc__ or "")
    found = re.search(r"^References?:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def paper(text):
    """Authors and year of the first paper in a reference, with a link if it is on arXiv.

    Args:
        text: a reference, as in 'Finn, Abbeel and Levine, "Title", ICML 2017, arXiv:1703.03400.'

    Returns:
        "[Finn et al. 2017](https://arxiv.org/abs/1703.03400)"; "-" where the text begins with
        "No paper".
    """
    if text.startswith("No paper"):
        return "-"
    outside_titles = re.sub(r'"[^"]*"|arXiv:\S+', "", text)
    year = re.search(YEAR, outside_titles)
    if not year:
        raise ValueError(
            "Expected the docstring's section Reference to name authors, a title in quotes and a "
            f"year, or to begin with 'No paper'. Received: {text!r}."
        )
    authors = re.split(rf',?\s*(?:"|\(?{YEAR})', text)[0]
    names = re.split(r",? and |,? et al\.?|, ", authors)
    who = authors if len(names) == 1 or (len(names) == 2 and names[1]) else f"{names[0]} et al."
    found = re.search(r"arXiv:(\d{4}\.\d{4,5})", text)
    label = f"{who} {year[0]}"
    return f"[{label}](https://arxiv.org/abs/{found[1]})" if found else label


def markdown(columns, rows):
    """A table."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def filled(text, tables):
    """A page with each table between its two marks.

    Args:
        text: a page that has, for each table, the lines "<!-- NAME: written by ... -->" and
            "<!-- end -->", with the table of the last time between them.
        tables: NAME -> Markdown.

    Returns:
        The page with the tables of today.

    Raises:
        ValueError: if the page has marks of other names than those of the tables.
    """
    marks = re.compile(r"(<!-- ([^:\n]+): written by [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
    names = [found[2] for found in marks.finditer(text)]
    if sorted(names) != sorted(tables):
        raise ValueError(f"Expected marks for {sorted(tables)}. Received: {sorted(names)}.")
    return marks.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n\n{found[3]}", text)


def main():
    for path, text in pages().items():
        path.write_text(text)
        print(f"written: {path}")


if __name__ == "__main__":
    main()
