"""A journey's version follows its code, wherever its author wrote it."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hogsend import Context, Journey, User, days, journey

SOURCE = '''
"""A module of journeys."""
from datetime import timedelta
from hogsend import Context, User, days, journey
import json

PAUSE = days(2)
OTHER = 7
KINDS = ["a", "b"]
KINDS.append("c")


def subject(user):
    """The subject."""
    return f"Hello {name_of(user)}"


def name_of(user):
    return user.properties.get("first_name", "you")


def not_used():
    return 1


@journey(id="one", trigger="signup")
async def one(user: User, ctx: Context) -> None:
    """What it does."""
    await ctx.send("welcome", subject=subject(user))
    await ctx.sleep(PAUSE)
    for kind in KINDS:
        await ctx.checkpoint(kind)
'''

ModuleFrom = Callable[[str], Any]


@pytest.fixture
def module_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleFrom]:
    """Import a source as a module of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(source: str) -> Any:
        name = f"journeys_of_this_test_{len(made)}"
        (tmp_path / f"{name}.py").write_text(source)
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("subject=subject(user))", "\n        subject = subject(user),  # hello\n    )"),
        ('"""What it does."""', '"""What it really does."""'),
        ('"""The subject."""', "# The subject."),
        ("OTHER = 7", "OTHER = 8"),
        ("return 1", "return 2"),
        ("import json", "import json, math"),
        ("PAUSE = days(2)", "\n\nPAUSE = (days(\n    2\n))"),
    ],
)
def test_a_version_stays_where_nothing_that_the_journey_does_changed(
    module_from: ModuleFrom, before: str, after: str
) -> None:
    assert before in SOURCE
    assert module_from(SOURCE).one.version == module_from(SOURCE.replace(before, after)).one.version


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('ctx.send("welcome"', 'ctx.send("nudge"'),
        ('trigger="signup"', 'trigger="signed-up"'),
        ("PAUSE = days(2)", "PAUSE = days(3)"),
        ('f"Hello {', 'f"Hi {'),
        ('"first_name"', '"name"'),
        ('KINDS.append("c")', 'KINDS[0] = "c"'),
        ('["a", "b"]', '["a"]'),
    ],
)
def test_a_version_changes_with_what_the_journey_refers_to(
    module_from: ModuleFrom, before: str, after: str
) -> None:
    assert before in SOURCE
    assert module_from(SOURCE).one.version != module_from(SOURCE.replace(before, after)).one.version


def test_journeys_that_a_function_makes_differ_by_what_they_were_made_with() -> None:
    def make(span: timedelta) -> Journey:
        @journey(id="made", trigger="signup")
        async def made(user: User, ctx: Context) -> None:
            await ctx.sleep(span)

        return made

    assert make(days(1)).version == make(days(1)).version
    assert make(days(1)).version != make(days(2)).version


def test_code_without_a_source_has_a_version_too() -> None:
    def made_by_exec(body: str) -> Journey:
        names: dict[str, Any] = {"journey": journey}
        lines = ["@journey(id='x', trigger='y')", "async def x(user, ctx):", f"    {body}"]
        exec("\n".join(lines), names)
        made: Journey = names["x"]
        return made

    one = "return [await ctx.send(t) for t in {'a', 'b'}], (lambda: 1)"
    assert made_by_exec(one).version == made_by_exec(one).version
    assert made_by_exec(one).version != made_by_exec(one.replace("lambda: 1", "lambda: 2")).version


SHOP = {
    "shop/__init__.py": "",
    "shop/journeys/__init__.py": "",
    "shop/journeys/orders.py": """
from datetime import timedelta

import shop.pricing
import texts as words
from hogsend import Context, User, journey
from shop import spans
from shop.people import Buyer, greet as hello

from ..stock import *


@journey(id="orders", trigger="ordered")
async def orders(user: User, ctx: Context) -> None:
    from shop.lazily import late

    await ctx.send("ordered", subject=hello(Buyer(user)), props={"price": shop.pricing.price(2), "of": words.OF})
    await ctx.sleep(spans.PAUSE + timedelta(hours=1))
    await ctx.once("stock", in_stock)
    await ctx.once("late", late)
""",
    "shop/spans.py": "from hogsend import days\n\nPAUSE = days(2)\nNOT_USED = days(9)\n",
    "shop/pricing/__init__.py": "from .tables import price as price, discount\n",
    "shop/pricing/tables.py": (
        "from shop.pricing import vat\n\nRATE = 3\n\n\ndef price(n):\n    return n * RATE * vat.PERCENT\n\n\n"
        "def discount():\n    return 5\n"
    ),
    "shop/pricing/vat.py": "PERCENT = 21\n",
    "shop/people.py": (
        "from shop import naming\n\n\nclass Buyer:\n    greeting = 'Dear'\n\n    def __init__(self, user):\n"
        "        self.user = user\n\n\ndef greet(buyer):\n    '''Greets.'''\n    return naming.first(buyer)\n"
    ),
    # They need each other.
    "shop/naming.py": "from shop import people\n\n\ndef first(buyer):\n    return people.Buyer.greeting\n",
    "shop/stock.py": "__all__ = ['in_stock']\n\n\nasync def in_stock():\n    return True\n",
    "shop/lazily.py": "import texts\n\n\nasync def late():\n    return texts\n",
    "texts.py": "OF = 'of'\nANYTHING = 1\n",
}

ORDERS = "shop/journeys/orders.py"


@pytest.fixture
def version_in(tmp_path: Path) -> Callable[..., str]:
    """The version of the shop's journey with some files changed, each time in a folder of its own."""

    def version(changed: dict[str, str] | None = None) -> str:
        folder = write(tmp_path / str(len(list(tmp_path.iterdir()))), SHOP | (changed or {}))
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "texts")]:
                patch.delitem(sys.modules, name)
            made: Journey = importlib.import_module("shop.journeys.orders").orders
        return made.version

    return version


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    return folder


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("shop/spans.py", "days(2)", "days(3)"),
        ("shop/pricing/tables.py", "n * RATE", "n + RATE"),
        ("shop/pricing/tables.py", "RATE = 3", "RATE = 4"),
        ("shop/pricing/vat.py", "21", "6"),
        ("shop/people.py", "'Dear'", "'Hi'"),
        ("shop/people.py", "naming.first(buyer)", "naming.first(buyer).upper()"),
        ("shop/naming.py", "people.Buyer.greeting", "people.Buyer.greeting.title()"),
        ("shop/stock.py", "True", "False"),
        ("shop/lazily.py", "return texts", "return texts.OF"),
        ("texts.py", "'of'", "'from'"),
        # `late` hands on the module as it is, so that all of it may be used.
        ("texts.py", "ANYTHING = 1", "ANYTHING = 2"),
        # The same name out of another module.
        (ORDERS, "from ..stock import *", "from shop.pricing.tables import discount as in_stock"),
    ],
)
def test_a_version_changes_with_what_the_journey_reaches_in_modules_of_its_project(
    version_in: Callable[..., str], file: str, before: str, after: str
) -> None:
    assert before in SHOP[file]
    assert version_in() != version_in({file: SHOP[file].replace(before, after)})


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("shop/spans.py", "NOT_USED = days(9)", "NOT_USED = days(10)"),
        ("shop/spans.py", "PAUSE = days(2)", "# Two days.\nPAUSE = (\n    days(2)\n)"),
        ("shop/pricing/tables.py", "return 5", "return 6"),
        ("shop/people.py", "'''Greets.'''", "'''Says hello.'''"),
        ("shop/stock.py", "__all__ = ['in_stock']", "import os\n__all__ = ['in_stock']"),
        ("shop/__init__.py", "", "VERSION = 2\n"),
        (ORDERS, "import texts as words\n", "import texts as words  # for people\n\n"),
    ],
)
def test_a_version_stays_where_the_modules_of_its_project_do_the_same_for_it(
    version_in: Callable[..., str], file: str, before: str, after: str
) -> None:
    assert before in SHOP[file]
    assert version_in() == version_in({file: SHOP[file].replace(before, after)})


def test_what_is_installed_is_not_in_the_version(version_in: Callable[..., str]) -> None:
    """A library's next release is no change of the journey; a module beside the project is its author's too."""
    versions = set()
    for rate in ("1", "2"):
        library = {
            "site-packages/rates.py": f"RATE = {rate}\n",
            "shop/spans.py": (
                "import sys\nfrom pathlib import Path\n\n"
                "sys.path.append(str(Path(__file__).parents[1] / 'site-packages'))\n"
                "from rates import RATE\n\nPAUSE = __import__('hogsend').days(RATE)\n"
            ),
        }
        versions.add(version_in(library))
        del sys.modules["rates"]
    assert len(versions) == 1


def test_a_version_is_the_same_in_every_process_whatever_was_imported_first(tmp_path: Path) -> None:
    folder = write(tmp_path, SHOP)
    shown = {
        subprocess.run(
            [sys.executable, "-c", f"import {first}, shop.journeys.orders as o; print(o.orders.version)"],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for first, seed in [("shop.naming", "1"), ("shop.pricing.vat", "2"), ("shop.lazily", "3")]
    }
    assert len(shown) == 1
    assert re.fullmatch(r"[0-9a-f]{12}\n", shown.pop())
