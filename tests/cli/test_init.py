"""`hogsend init`: what it writes works as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hogsend.cli.init import scaffold
from hogsend.cli.problem import Problem
from hogsend.emails.templates.render import Templates


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HOGSEND"))
    }
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, env=environment, timeout=60
    )


def test_its_tests_pass_and_its_code_is_clean(tmp_path: Path) -> None:
    project = tmp_path / "My Shop"
    made = run("hogsend.cli", "init", str(project), cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert "hogsend dev" in made.stdout
    assert 'name = "my-shop"' in (project / "pyproject.toml").read_text()

    tested = run("pytest", "-p", "no:xdist", "-p", "no:asyncio", cwd=project)
    assert "3 passed" in tested.stdout, tested.stdout + tested.stderr
    assert run("ruff", "check", ".", cwd=project).returncode == 0


def test_its_settings_name_its_journeys_and_templates(tmp_path: Path) -> None:
    scaffold(tmp_path / "shop")
    code = (
        "import sys; from dotenv import load_dotenv; load_dotenv('.env'); sys.path.insert(0, '.');"
        "from hogsend.settings import load_settings; from hogsend.journeys.registry import Registry;"
        "s = load_settings(database_url='postgresql://x/x');"
        "print(s.email_from, [j.id for j in Registry.load(s.journeys).all()], [str(p) for p in s.templates])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "shop", capture_output=True, text=True, timeout=60
    )
    assert shown.stdout.strip() == "Hello <hello@example.com> ['welcome'] ['templates']", shown.stderr
    assert Templates.load([tmp_path / "shop" / "templates"]).keys() == ["get-started", "welcome"]


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Problem, match="is not empty"):
        scaffold(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match=r"Cannot write to .*: not a directory"):
        scaffold(tmp_path / "file" / "shop")


def test_a_name_that_no_project_can_have_is_replaced(tmp_path: Path) -> None:
    scaffold(tmp_path / "日本")
    assert 'name = "journeys"' in (tmp_path / "日本" / "pyproject.toml").read_text()
