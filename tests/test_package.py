"""What a wheel takes along, read from setup.cfg; `make package` builds one and tries it."""

import configparser
import fnmatch
import pathlib

from tools import check_package

ROOT = pathlib.Path(__file__).parents[1]


def test_the_version_is_that_of_the_changelog_and_of_the_citation():
    assert check_package.read_version()


def test_every_file_of_the_package_is_packed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    data = config["options.package_data"]
    for name in check_package.package_files():
        path = pathlib.Path(name)
        package = next(p for p in path.parents if (ROOT / p / "__init__.py").exists())
        if path.suffix == ".py":
            assert package == path.parent, f"{path.parent} is no package"
        else:
            patterns = data.get(".".join(package.parts), "").split(",")
            inside = str(path.relative_to(package))
            found = any(fnmatch.fnmatch(inside, p.strip()) for p in patterns)
            assert found, f"Add {name} to [options.package_data] of setup.cfg"
