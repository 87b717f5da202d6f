"""The pages: the table of learners, README's length, links to what exists, code that parses."""

import ast
import json
import re

import pytest

import tfmeta
from benchmarks import speed_report
from benchmarks.cases import CASES
from tools import write_tables

ROOT = write_tables.README.parent
README = write_tables.README.read_text()
PAGES = [
    write_tables.README, ROOT / "benchmarks" / "README.md", ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]  # fmt: skip
BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def page_name(path):
    return str(path.relative_to(ROOT))


def test_the_tables_of_learners_are_those_of_the_docstrings():
    for path, text in write_tables.pages().items():
        assert text == path.read_text(), "run: python tools/write_tables.py"


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 160


def test_the_site_has_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert f": {path.name}\n" in navigation, f"Add {path.name} to mkdocs.yml"


def test_every_learner_has_a_row():
    table = write_tables.learner_table()
    for name in tfmeta.learners.__all__:
        value = getattr(tfmeta.learners, name)
        if issubclass(value, tfmeta.MetaModel) and write_tables.reference(value):
            assert f"\n| `{name}` | " in table
            assert f"`{name}`" in write_tables.family_table()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (
            'Finn, Abbeel and Levine, "MAML", ICML 2017, arXiv:1703.03400, algorithm 1.',
            "[Finn et al. 2017](https://arxiv.org/abs/1703.03400)",
        ),
        (
            "Finn et al., 2017, arXiv:1703.03400, section 5.1.",
            "[Finn et al. 2017](https://arxiv.org/abs/1703.03400)",
        ),
        (
            'Park and Oliva, "Since 1999", NeurIPS 2019, arXiv:1902.03356.',
            "[Park and Oliva 2019](https://arxiv.org/abs/1902.03356)",
        ),
        ('Vanschoren, "A Survey", 2018.', "Vanschoren 2018"),
        ("No paper of its own: Finn et al., 2017, arXiv:1703.03400.", "-"),
    ],
)
def test_a_paper_is_named_by_its_authors_and_year(reference, expected):
    assert write_tables.paper(reference) == expected


def test_a_learner_without_a_reference_is_refused():
    class Method(tfmeta.MetaModel):
        """Do nothing."""

    with pytest.raises(ValueError, match=r"Method: Expected the docstring's section Reference"):
        write_tables.row(Method)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_lead_somewhere(path):
    text = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", path.read_text()))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name}: {link}"
        if heading:
            assert heading in anchors(target), f"{path.name}: {link}"


def anchors(path):
    """Those that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_python_in_pages_parses(path):
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
        ast.parse(code)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("TF, compiled loop", "{} to {} times as fast as the same loop compiled"),
        ("torch.func vmap", "{} to {} times as fast as `torch.func`"),
        ("JAX, its best", "{} to {} times as fast as the best of three ways in JAX"),
    ],
)
def test_the_readme_says_what_the_speed_results_say(column, sentence):
    results = json.loads((ROOT / "benchmarks/results/speed.json").read_text())
    ratios = []
    for case, result in results.items():
        found = [result.get("contenders", {}).get(c, {}) for c in speed_report.COLUMNS[column]]
        found = [f["tfmeta_is_times_as_fast"] for f in found if "tfmeta_is_times_as_fast" in f]
        if found and CASES[case].learner == "maml":  # of which the sentence is
            ratios.append(min(found))
    expected = sentence.format(f"{min(ratios):.1f}", f"{max(ratios):.1f}")
    assert expected in " ".join(README.split())
