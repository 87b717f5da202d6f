"""The tables of benchmarks/README.md say what the figures in benchmarks/results/ say."""

import re

import pytest

from benchmarks import write_readme
from benchmarks.methods import FREQUENCIES

TABLES = write_readme.tables()
PAGE = write_readme.README.read_text()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_the_figures(name):
    assert f"\n\n{TABLES[name]}\n\n<!-- end -->" in PAGE, "run: python -m benchmarks.write_readme"


def test_nothing_is_left_to_write():
    assert write_readme.filled(PAGE, TABLES) == PAGE, "run: python -m benchmarks.write_readme"


def test_every_file_of_figures_is_named_in_the_page():
    for path in (write_readme.FOLDER / "results").iterdir():
        assert f"results/{path.name}" in PAGE


def test_the_page_of_choices_has_figures_of_this_page():
    choices = (write_readme.FOLDER.parent / "docs" / "choose.md").read_text()
    figures = re.findall(r"\d+\.\d+", re.sub(r"\(\.\./[^)]*\)", "", choices))
    assert len(figures) > 30
    missing = [f for f in figures if not re.search(rf"(?<![\d.]){re.escape(f)}(?!\d)", PAGE)]
    assert not missing, "docs/choose.md has figures that no table has any more"


def test_every_case_and_every_method_has_its_place():
    for case, result in write_readme.figures("accuracy").items():
        table = "frequencies" if case in FREQUENCIES else f"accuracy {case}"
        assert all(f"| {method} |" in TABLES[table] for method in result["methods"])


def test_a_page_without_a_mark_is_refused():
    with pytest.raises(ValueError, match="Expected marks for"):
        write_readme.filled(PAGE, TABLES | {"another": ""})
