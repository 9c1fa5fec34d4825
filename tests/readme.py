"""The parts of README.md that are generated: tables of rules and limits, and printed reports.

    python -m tests.readme --table    updates the tables
    python -m tests.readme            updates the reports too, which downloads published wheels
    python -m tests.readme --index    updates the tables of what is published, as of today

Tests fail if README.md differs from what the first two generate.
"""

from __future__ import annotations

import argparse
import re
from contextlib import redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.real.download import download
from torch_abi_audit import __version__, audit
from torch_abi_audit.budget import Limits
from torch_abi_audit.cli import main as main_of_command
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.outputs import ReportFormat, render
from torch_abi_audit.report.style import Style
from torch_abi_audit.rules import RULES

README = Path(__file__).parents[1] / "README.md"
_OUTPUT = re.compile(
    r"(<!-- output of: torch-abi-audit (\S+) -->\n```text\n)(.*?)(```\n)", re.DOTALL
)
_TABLE = re.compile(r"(\| rule \| severity \| reported when \|\n\|---\|---\|---\|\n)((?:\|.*\n)*)")

_PUBLISHED = re.compile(r"(<!-- published: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
_LIMITS = re.compile(r"(\| limit \| default \| .*\n\|---\|---\|---\|---\|\n)((?:\|.*\n)*)")


def rules_table() -> str:
    """Return the rows of the table of rules."""
    return "".join(
        f'| <a id="{r.name}"></a>`{r.name}` | {r.severity} | {r.title} |\n' for r in RULES.values()
    )


def limits_table() -> str:
    """Return the rows of the table of limits."""
    usual = Limits()
    rows = []
    for item in fields(usual):
        if item.name.startswith("run_"):
            continue
        run = getattr(usual, f"run_{item.name}", None)
        values = [_amount(getattr(usual, item.name)), "" if run is None else _amount(run)]
        rows.append(f"| `{item.name}` | {' | '.join(values)} | {item.metadata['what']} |\n")
    return "".join(rows)


def _amount(value: int) -> str:
    for unit, size in (("G", 1 << 30), ("M", 1 << 20)):
        if value % size == 0:
            return f"{value // size:,}{unit}"
    return f"{value:,}"


def printed(name: str) -> str:
    """Return what the command prints in a log for a published wheel, or one of `test_wheels/`."""
    (wheel,) = (README.parent / name).glob("*.whl") if "/" in name else [download(name)]
    document = report_document(audit(wheel), __version__)
    text = render(ReportFormat.TEXT, document, Style())
    return text.replace(str(wheel), wheel.name).rstrip() + "\n"


def published(name: str) -> str:
    """Return what the command prints of what is published today for Linux x86_64."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        if name == "compat":
            arguments = ["compat", "torchcodec", "--latest", "100", "-o", f"text={output}"]
        else:
            names = str(README.parent / "tests" / "real" / "ecosystem.txt")
            arguments = ["survey", names, "-o", f"markdown={output}"]
        with redirect_stdout(StringIO()):
            assert main_of_command([*arguments, "--platform", "linux_x86_64", "--quiet"]) == 0
        text = output.read_text(encoding="utf-8")
    if name == "compat":
        return f"```text\n{text}```\n"
    return text.partition("\n\n")[2]  # the README has a heading of its own


def recipe(name: str) -> str:
    """Return the code of a recipe."""
    pattern = rf"<!-- recipe: {name} -->\n```\w+\n(.*?)```\n"
    match = re.search(pattern, README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


def with_table(text: str) -> str:
    """Return the README with the tables as the registry of rules and the limits have them."""
    text = _TABLE.sub(lambda match: match[1] + rules_table(), text)
    return _LIMITS.sub(lambda match: match[1] + limits_table(), text)


def with_outputs(text: str) -> str:
    """Return the README with the reports as they are printed now."""
    return _OUTPUT.sub(lambda match: f"{match[1]}{printed(match[2])}{match[4]}", text)


def with_published(text: str) -> str:
    """Return the README with the tables of what is published today."""
    return _PUBLISHED.sub(lambda match: f"{match[1]}{published(match[2])}{match[3]}", text)


def main(arguments: list[str] | None = None) -> None:
    """Update README.md."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.readme", description="Update the generated parts of README.md."
    )
    parser.add_argument("--table", action="store_true", help="only the tables, without the network")
    parser.add_argument("--index", action="store_true", help="only the tables of an index")
    options = parser.parse_args(arguments)
    text = with_table(README.read_text(encoding="utf-8"))
    if options.index:
        text = with_published(text)
    elif not options.table:
        text = with_outputs(text)
    README.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
