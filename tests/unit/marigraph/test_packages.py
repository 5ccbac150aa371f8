"""The check that the top-level packages are ours."""

import pytest

from marigraph import packages
from marigraph.packages import ForeignPackage, check_packages


def install(folder, distribution, *files):
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (info / "RECORD").write_text("".join(f"{name},sha256=x,0\n" for name in files))


def test_our_own_packages_pass():
    check_packages()


@pytest.mark.parametrize("name", ["domain", "eventstore"])
def test_a_distribution_that_owns_the_name_is_refused_and_named(tmp_path, monkeypatch, name):
    install(tmp_path, "other_thing", f"{name}/__init__.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ForeignPackage, match=f"'{name}' belongs to distribution other_thing"):
        check_packages()


def test_a_foreign_folder_before_ours_is_refused(tmp_path, monkeypatch):
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ForeignPackage, match="'domain' belongs to another program"):
        check_packages()


def test_a_distribution_with_a_similar_name_is_no_matter(tmp_path, monkeypatch):
    install(tmp_path, "unrelated", "domains/__init__.py", "my/domain/__init__.py")
    monkeypatch.syspath_prepend(tmp_path)
    check_packages()


def test_an_overwritten_package_is_refused(tmp_path, monkeypatch):
    home = tmp_path / "site"
    for name in ("domain", "eventstore", "marigraph"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text("")
    monkeypatch.setattr(packages, "__file__", str(home / "marigraph" / "packages.py"))
    monkeypatch.syspath_prepend(home)
    with pytest.raises(ForeignPackage):
        check_packages()
