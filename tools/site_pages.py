"""Pages of the site that stand elsewhere: README, CONTRIBUTING, results, tutorials, the API.

A hook of MkDocs (`mkdocs.yml`): the pages are made while the site is built, so that nothing is
typed twice. Tutorials are scripts of `# %%` cells, which become text and code; the pages of the API
name what each module exports, and mkdocstrings reads the docstrings.
"""

import ast
import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Where a page of the repository is on the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks/README.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
PICTURES = "benchmarks/results/*.png"


def on_config(config):
    """Fill in the tutorials and the modules, which the navigation has a place for."""
    for entry in config.nav:
        if entry.get("Tutorials") == "tutorials/":
            entry["Tutorials"] = [f"tutorials/{path.stem}.md" for path in tutorials()]
        if entry.get("API") == "api/":
            entry["API"] = [{f"tfmeta.{name}": f"api/{name}.md"} for name in modules()]
    return config


def on_files(files, config):
    """Add the pages that are made."""
    texts = {place: (ROOT / source).read_text() for source, place in PAGES.items()}
    texts |= {f"tutorials/{path.stem}.md": tutorial(path) for path in tutorials()}
    texts |= {f"api/{name}.md": api_page(name) for name in modules()}
    for place, text in texts.items():
        files.append(File.generated(config, place, content=text))
    for path in ROOT.glob(PICTURES):
        place = str(path.relative_to(ROOT))
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links to files of the repository into links to pages of the site."""
    source = {place: source for source, place in PAGES.items()}.get(page.file.src_uri)
    source = source or f"docs/{page.file.src_uri}"

    def turn(match):
        bang, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return match[0]
        at = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = site_place(at)
        if place is None:  # code, or data: named, but no page
            return text
        relative = posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")
        return f"{bang}[{text}]({relative}{'#' * bool(anchor)}{anchor})"

    return LINK.sub(turn, markdown)


def site_place(path):
    """Where a file of the repository is on the site, or None."""
    if not (ROOT / path).exists() and not path.startswith("docs/"):
        raise ValueError(f"A page links to {path}, which does not exist.")
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("tutorials/") and path.endswith(".py"):
        return path.removesuffix(".py") + ".md"
    return path if pathlib.PurePath(path).match(PICTURES) else None


def tutorials():
    """Paths of the tutorials, in their order."""
    return sorted((ROOT / "tutorials").glob("[0-9]*.py"))


def tutorial(path):
    """A script of `# %%` cells as Markdown."""
    parts = []
    for cell in re.split(r"^# %%", path.read_text(), flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if kind.strip() == "[markdown]":
            parts.append(re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE))
        else:
            parts.append(f"```python\n{body.strip()}\n```")
    for picture in sorted((ROOT / "docs" / "pictures").glob(f"{path.stem}*.png")):
        parts.append(f"![What the script draws](../pictures/{picture.name})")
    return "\n\n".join(parts) + "\n"


def modules():
    """Names of the public modules, by `tfmeta/__init__.py`: the package itself comes first."""
    names = [n for n in exported(ROOT / "tfmeta" / "__init__.py") if submodule(n)]
    return ["core", *names]


def submodule(name):
    """The file of a public module, or None."""
    for path in (ROOT / "tfmeta" / name / "__init__.py", ROOT / "tfmeta" / f"{name}.py"):
        if path.exists():
            return path
    return None


def exported(path):
    """`__all__` of a module, read and not imported; that of `learners` follows from its imports."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                break
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
    return sorted(
        (a.name for n in imports for a in n.names if n.module.startswith("tfmeta")),
        key=str.casefold,
    )


def api_page(name):
    """A page of the API: a heading, and a directive of mkdocstrings for each public name."""
    if name == "core":
        path, prefix = ROOT / "tfmeta" / "__init__.py", "tfmeta"
        names = [n for n in exported(path) if not submodule(n) and not n.startswith("__")]
    else:
        path, prefix = submodule(name), f"tfmeta.{name}"
        names = exported(path)
    tree = ast.parse(path.read_text())
    about = ast.get_docstring(tree)
    # What is imported late, or has the name of its file, is found where it is defined.
    defined = {
        a.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for a in node.names
        if node not in tree.body or node.module.endswith(f".{a.name}")
    }
    entries = "\n".join(f"::: {defined.get(n, prefix)}.{n}\n" for n in names)
    return f"# `{prefix}`\n\n{about}\n\n{entries}"
