"""The HTML page in a browser: Chromium, headless, driven by Playwright.

Without the dependency group `browser`, or a Chromium, these tests are skipped:

    pip install --group browser
    playwright install chromium  (or the system's: apt install chromium)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from tests.builders import RELEASES, TEST_WHEELS, record
from torch_abi_audit import audit
from torch_abi_audit.model import Verdict
from torch_abi_audit.report import summary, tables
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.html import render_html
from torch_abi_audit.report.shape import Document
from torch_abi_audit.survey.compatibility import best_release, compatibility
from torch_abi_audit.survey.documents import compatibility_document, survey_document
from torch_abi_audit.survey.ecosystem import survey
from torch_abi_audit.survey.pages import compatibility_page, survey_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NEEDS = "needs the dependency group `browser`"
sync_api = pytest.importorskip("playwright.sync_api", reason=_NEEDS)
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=_NEEDS)

pytestmark = pytest.mark.browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_SCENARIOS = (
    *("stable-2.10", "cuda-12", "unstable", "mixed", "no-torch", "alternatives", "tag-fitting"),
    *("layout-changed", "macos-universal2", "torch-undeclared", "corrupt-library"),
    *("unstable-undeclared", "release-disagrees"),
)
_WIDTHS = (1280, 500)

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = own if Path(own).exists() else next(filter(None, map(shutil.which, _NAMES)), None)
        if path is None:
            pytest.skip("no Chromium: `playwright install chromium`, or install the system's")
        running = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a report in a page of its own; it loads nothing, and has no errors."""
    contexts, said, loaded = [], [], []

    def opened(document: Document | str, *, scripts: bool = True, **options: Any) -> Page:
        path = tmp_path / "report.html"
        text = document if isinstance(document, str) else render_html(document)
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(java_script_enabled=scripts, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: loaded.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert loaded == [(tmp_path / "report.html").as_uri()] * len(contexts)


def _document(*scenarios: str) -> Document:
    paths = [path for name in scenarios for path in sorted((TEST_WHEELS / name).glob("*.whl"))]
    return report_document(audit(*paths), "1.0")


@pytest.fixture(scope="module")
def document() -> Document:
    """A report with everything that a page can have."""
    found = _document(*_SCENARIOS)
    found["targets"][0]["verdict"] = Verdict.PINNED
    long = "_ZN2at" + "4long" * 50
    found["targets"][2]["summary"] = f"it needs {long}"
    found["targets"][2]["findings"][0]["message"] = f"2.9.0 lacks {long}"
    found["targets"][2]["findings"][0]["fix"] = f"build it with -D{long}"
    cell = found["targets"][1]["torch"]["releases"]["2.12.0"]
    found["targets"][1]["here"] = {"torch": "2.12.0", **cell, "remedy": None}
    return found


def _view(width: int) -> dict[str, int]:
    return {"width": width, "height": 900}


def _open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true; })")


def _overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def _violations(page: Page) -> list[str]:
    """Return what axe finds, of WCAG 2.2 AA and of its best practices."""
    found = axe.Axe().run(page).response["violations"]
    return [f"{item['id']}: {node['html'][:200]}" for item in found for node in item["nodes"][:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", _WIDTHS)
def test_it_fits_and_everybody_can_read_it(
    open_page: Open, document: Document, scheme: str, width: int
) -> None:
    page = open_page(document, viewport=_view(width), color_scheme=scheme)
    assert _overflow(page) <= 0
    assert _violations(page) == []
    _open_all(page)
    assert _overflow(page) <= 0
    assert _violations(page) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 382) is (scheme == "light")


def test_it_fits_a_phone(open_page: Open, document: Document) -> None:
    page = open_page(document, viewport=_view(320))
    assert _overflow(page) <= 0
    _open_all(page)
    assert _overflow(page) <= 0


def test_the_keyboard_reaches_everything(open_page: Open) -> None:
    page = open_page(_document("unstable"), viewport=_view(500))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _open_all(page)
    expected = page.evaluate(
        "[...document.querySelectorAll('a, summary, button, [tabindex]')].map(e => e.outerHTML)"
    )
    reached = []
    for _ in expected:
        page.keyboard.press("Tab")
        element, outline, where = page.evaluate(
            "(e => [e.outerHTML, getComputedStyle(e).outline, e.getBoundingClientRect().toJSON()])"
            "(document.activeElement)"
        )
        reached.append(element)
        assert "solid 3px" in outline, element
        assert 0 <= where["top"] < 900, element
        assert where["right"] <= 500, element
    assert reached == expected
    assert any("copy" in element for element in reached)


def test_what_the_keyboard_does(open_page: Open) -> None:
    page = open_page(_document("floor-understated"), viewport=_view(1280))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    details = page.locator("details").first
    assert details.get_attribute("open") is None
    details.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
    button = page.locator("button.copy:visible").first
    button.focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#said")).to_have_text("Copied")
    assert button.inner_text().startswith("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    (target,) = _document("floor-understated")["targets"]
    assert target["fix"] is not None
    assert copied == target["fix"]["lines"][0]
    sync_api.expect(page.locator("#said")).to_have_text("")
    assert button.inner_text().startswith("Copy")


def test_copying_without_a_clipboard(open_page: Open) -> None:
    page = open_page(_document("unstable"))
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(Error()); }")
    page.locator("button.copy:visible").first.click()
    sync_api.expect(page.locator("#said")).to_have_text("Copied")
    code = page.locator(".fix code").filter(visible=True)
    selected = page.evaluate("getSelection().toString()")
    assert selected in code.all_inner_texts()


def test_without_scripts(open_page: Open, document: Document) -> None:
    page = open_page(document, scripts=False)
    assert page.locator("button.copy").count() > 0
    assert page.locator("button:visible").count() == 0
    details = page.locator("details").first
    details.locator("summary").click()
    assert details.get_attribute("open") is not None
    assert page.locator(".fix:visible code").count() > 0


@pytest.mark.parametrize("width", _WIDTHS)
def test_options_are_not_broken_at_hyphens(open_page: Open, width: int) -> None:
    page = open_page(_document("unstable"), viewport=_view(width))
    _open_all(page)
    words = page.evaluate(
        "[...document.querySelectorAll('.word')].map(e => [e.textContent, e.offsetHeight,"
        " parseFloat(getComputedStyle(e).lineHeight)])"
    )
    assert "-DTORCH_TARGET_VERSION" in [text for text, _, _ in words]
    assert [text for text, height, line in words if height > 1.5 * line] == []


def test_narrow_tables_say_what_is_found_and_claimed(open_page: Open) -> None:
    script = "e => getComputedStyle(e, '::before').content"
    for width, shown in ((1280, ["none"] * 2), (500, ['"found: "', '"claimed: "'])):
        page = open_page(_document("stable-2.10"), viewport=_view(width))
        cells = page.locator("article table:not(.cells) tbody tr").first.locator("td")
        assert [cell.evaluate(script) for cell in cells.all()] == shown
        page.context.close()


def test_on_paper(open_page: Open, document: Document) -> None:
    page = open_page(document, color_scheme="dark")
    assert page.locator("button.copy:visible").count() > 0
    page.emulate_media(media="print")
    assert page.locator("button:visible").count() == 0
    text = page.evaluate("getComputedStyle(document.body).color")
    assert max(map(int, text[4:-1].split(","))) < 80  # dark on white, of a dark scheme too
    hidden = page.evaluate(
        "[...document.querySelectorAll('details > *:not(summary)')]"
        ".filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert page.locator("details:not([open])").count() > 0
    assert hidden == 0
    assert page.pdf().startswith(b"%PDF-")


def test_a_hundred_wheels(open_page: Open, document: Document) -> None:
    known = document["targets"]
    targets = [{**known[number % len(known)], "target": f"{number}.whl"} for number in range(100)]
    many: Any = {**document, "targets": targets}
    page = open_page(many, viewport=_view(1280))
    assert page.locator("article").count() == 100
    assert page.locator("#t1").is_visible()
    names = page.locator("section table.cells tbody th a").all_inner_texts()
    assert names == [target["target"] for target in summary.failures_first(targets)]  # type: ignore[arg-type]
    assert _overflow(page) <= 0
    page.locator("section table.cells tbody th a").last.click()
    assert page.evaluate("document.querySelector(':target').id") == "t100"
    headline = page.locator("h1").inner_text()
    assert ".whl" not in headline
    assert page.evaluate("document.querySelector('h1').offsetHeight") < 60  # one line


def _published() -> list[str]:
    """Return the pages about published wheels, with names as long as they get."""
    known = tuple(map(Version, RELEASES))
    long = "4long" * 50
    records = [
        record("2.0", "xgggx", ">=2.9", cuda=(12, 13), error=None),
        record("1.0", "xcl?x", f"==2.9.{9 * 10**60}"),
        record("0.9", error=f"_ZN2at{long} can't be read"),
    ]
    answer = best_release("x", records, Version("2.10"), known)
    compat = compatibility_document(
        [compatibility("x", records, known)], [answer], releases=known, version="1.0"
    )
    state = survey_document(survey({"x": records}, known), releases=known, version="1.0")
    return [tables.html(compatibility_page(compat)), tables.html(survey_page(state))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_tables_of_published_wheels_fit(open_page: Open, scheme: str, width: int) -> None:
    for text in _published():
        page = open_page(text, viewport=_view(width), color_scheme=scheme)
        assert _overflow(page) <= 0
        assert _violations(page) == []
        assert page.locator("thead").is_visible()
        if width == 320:  # the table is wider, and scrolls
            assert page.evaluate(
                "(box => box.scrollWidth > box.clientWidth)(document.querySelector('.scroll'))"
            )
