"""The site: built from pages, tutorials and docstrings, with every link in it checked."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def test_the_site_builds_without_a_warning_or_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    learners = (tmp_path / "api" / "learners.html").read_text(encoding="utf-8")
    assert 'id="tfmeta.learners.MAML"' in learners
    assert "Source code in" in learners
    episodes = (tmp_path / "api" / "episodes.html").read_text(encoding="utf-8")
    assert 'id="tfmeta.episodes.sequence.sequence"' in episodes  # the function, and not
    assert 'id="tfmeta.episodes.sequence.first_and_last"' not in episodes  # what its file has
    assert "Expected" in (tmp_path / "CONTRIBUTING.html").read_text(encoding="utf-8")
    assert (tmp_path / "tutorials" / "01_quickstart.html").exists()
    assert (tmp_path / "search" / "search_index.js").exists()  # found without a server
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r'<script src="([^"]+)"', start)
    assert "javascripts/iframe-worker.js" in scripts, "or search fails in a page from a folder"
    assert not [s for s in scripts if "//" in s], "nothing is asked of another machine"
