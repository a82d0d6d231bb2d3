"""The pages in a real browser: no sideways scroll on a phone, readable by day and night, and the buttons work."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from middlewatch.project import Project
from middlewatch.serve.run import make_app
from middlewatch.web import pages
from web_store import HOSTILE, NOW, build

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
PATHS = ("/", "/?days=30", "/i/1", "/versions", "/features", "/requests", "/i/1/silence", "/i/1/resolve", "/nope")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium"),
]

# Every piece of text against what is painted behind it: pairs under 4.5 (3 for large ones).
FAINT = """() => {
  const read = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = node => {
    for (let one = node; one; one = one.parentElement) {
      const colour = read(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || (colour.length === 4 && colour[3] === 1)) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || ['TITLE', 'title', 'desc', 'OPTION'].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const ink = read(node instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [light(ink), light(ground(node))].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push([walk.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return found;
}"""
# Text of the plots that is written over other text of the same plot.
OVERLAPS = """() => [...document.querySelectorAll('svg.plot')].flatMap(plot => {
  const boxes = [...plot.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()])
    .filter(([, box]) => box.width > 0);
  const found = [];
  boxes.forEach(([one, a], at) => boxes.slice(at + 1).forEach(([other, b]) => {
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
      found.push([one, other]);
  }));
  return found;
})"""


@contextmanager
def serving(project: Project, app: Any = None) -> Iterator[str]:
    """The pages, or another application, on a free port of this machine."""
    wanted = app or pages(project, clock=lambda: NOW)
    config = uvicorn.Config(wanted, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(build(tmp_path_factory.mktemp("browser"), why=True)) as found:
        yield found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(build(tmp_path_factory.mktemp("hostile"), hostile=True, why=True)) as found:
        yield found


@contextmanager
def tab(browser: Any, *, size: dict[str, int] = PHONE, scheme: str = "light", script: bool = True) -> Iterator[Any]:
    """A fresh tab that keeps what the console says and who is asked."""
    context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=script)
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 600}, DESK], ids=["phone", "small", "desk"])
def test_nothing_is_wider_than_the_screen_or_asked_of_others(browser: Any, address: str, size: dict[str, int]) -> None:
    with tab(browser, size=size) as page:
        for path in PATHS:
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert [one for one in page.said if "404" not in one] == []
        assert all(one.startswith((address, "data:")) for one in page.asked)


def test_long_names_and_markup_of_users_break_no_page(browser: Any, hostile: str) -> None:
    with tab(browser) as page:
        page.on("dialog", lambda dialog: pytest.fail("a script of a user ran"))
        for path in PATHS:
            page.goto(hostile + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert [one for one in page.said if "404" not in one] == []
        page.goto(hostile + "/i/1")
        assert HOSTILE in page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_a_contrast_of_4_5(browser: Any, address: str, scheme: str) -> None:
    with tab(browser, scheme=scheme) as page:
        for path in PATHS:
            page.goto(address + path)
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.evaluate(FAINT) == [], path


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_words_in_plots_do_not_lie_over_each_other(browser: Any, address: str, size: dict[str, int]) -> None:
    with tab(browser, size=size) as page:
        for path in ("/", "/?days=30", "/?days=365", "/i/1", "/features"):
            page.goto(address + path)
            assert page.evaluate(OVERLAPS) == [], path


def test_the_answer_and_the_numbers_are_above_the_fold_of_a_phone(browser: Any, address: str) -> None:
    with tab(browser, script=False) as page:
        page.goto(address)
        assert "Failing" in page.inner_text("h1")
        button = page.locator("a.button").bounding_box()
        assert button["y"] + button["height"] < PHONE["height"]
        assert page.locator(".numbers").bounding_box()["y"] < PHONE["height"]
        assert button["height"] >= 44  # a thumb


def test_all_can_be_reached_by_keyboard(browser: Any, address: str) -> None:
    with tab(browser) as page:
        page.goto(address)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        seen = set[str]()
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break  # past the last one
            seen.add(page.evaluate("document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert {"Features", "Open incident 1", "30"} <= seen


def test_a_button_leads_to_a_confirm_page_that_acts_once_pressed(browser: Any, tmp_path: Path) -> None:
    project = build(tmp_path, live=16)
    with serving(project) as address, tab(browser, script=False) as page:
        page.goto(f"{address}/i/1")
        page.get_by_role("link", name="Acknowledge").click()
        assert "Acknowledge incident 1?" in page.inner_text("h1")
        assert project.incidents("delay").get(1).state == "open"
        page.get_by_role("button", name="Acknowledge").click()
        assert page.url == f"{address}/i/1"
        assert "Acknowledged" in page.inner_text("h1")
        page.get_by_role("link", name="Resolve").click()
        page.get_by_label("What was it really?").fill("the feed <b>changed</b>")
        page.get_by_role("button", name="Resolve").click()
        assert "Resolved: the feed <b>changed</b>" in page.inner_text("main")
    assert project.incidents("delay").get(1).state == "resolved"


@pytest.mark.parametrize("strips", [False, True], ids=["whole", "stripped"])
def test_under_a_prefix_every_link_form_and_style_stays_there(browser: Any, tmp_path: Path, strips: bool) -> None:
    """As a proxy shows it at /ml, which passes paths on whole or without the prefix, and nothing else of the server."""
    project = build(tmp_path, live=16, why=True)
    toml = tmp_path / "middlewatch.toml"
    toml.write_text(toml.read_text() + '\n[serve]\nroot_path = "/ml"\n')
    app, live = make_app(Project.open(tmp_path), pages=partial(pages, clock=lambda: NOW))
    outside = []

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if not path.startswith("/ml"):
            outside.append(path)
        inside = {**scope, "path": path.removeprefix("/ml"), "raw_path": path.encode()} if strips else scope
        await app(inside, receive, send)

    with serving(project, proxy) as address, tab(browser, script=True) as page:
        todo, seen = [f"{address}/ml/"], set()
        while todo:
            at = todo.pop()
            seen.add(at)
            answer = page.goto(at)
            assert answer is not None
            assert answer.status == 200, at
            if answer.headers["content-type"].startswith("text/html"):
                links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.href.split('#')[0])")
                todo += {one for one in links if one not in seen and one.startswith(address)} - set(todo)
        assert {f"{address}/ml/{one}" for one in ("", "versions", "features", "requests", "i/1")} <= seen
        assert any(one.startswith(f"{address}/ml/static/middlewatch.css") for one in page.asked)
        page.goto(f"{address}/ml/requests")
        page.get_by_role("button", name="Show").click()
        assert page.url.startswith(f"{address}/ml/requests?")
        page.goto(f"{address}/ml/i/1/acknowledge")
        page.get_by_role("button", name="Acknowledge").click()
        assert page.url == f"{address}/ml/i/1"
        assert "Acknowledged" in page.inner_text("h1")
    live.stop()
    assert set(outside) <= {"/favicon.ico"}, "which a browser asks for by itself, beside JSON"


def test_a_foreign_page_cannot_press_it(browser: Any, tmp_path: Path) -> None:
    project = build(tmp_path, live=16)
    with serving(project) as address, tab(browser) as page:
        page.goto(f"{address}/i/1/acknowledge")
        token = page.get_attribute("input[name=token]", "value")
        # Another origin of the same machine, as a page of another local server would be.
        other = address.replace("127.0.0.1", "localhost")
        page.goto("about:blank")
        page.set_content(
            f'<form method="post" action="{other}/i/1/acknowledge"><input name="token" value="{token}"></form>'
        )
        page.evaluate("document.forms[0].submit()")
        page.wait_for_url(f"{other}/**")
        assert "did not come from a page of this server" in page.inner_text("h1")
    assert project.incidents("delay").get(1).state == "open"


# --- the page of plots, a file ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_of_plots_reads_on_a_phone_by_night(
    browser: Any, tmp_path: Path, scheme: str, size: dict[str, int]
) -> None:
    import numpy as np
    import polars as pl

    import middlewatch as mw

    chance = np.random.default_rng(0)
    rows = 3_000
    frame = pl.DataFrame(
        {
            HOSTILE: chance.normal(0, 1, rows),
            "a_name_that_goes_on_and_on_without_a_single_space_in_it_for_ever": chance.integers(0, 900, rows),
            "place": [f"a place with a long name, number {one}" for one in chance.integers(0, 30, rows)],
            "at": [f"2026-01-{1 + row // 100:02d}T{row % 24:02d}:00:00Z" for row in range(rows)],
        }
    )
    report = mw.check(frame, against=frame.head(1_000))
    report.save(tmp_path / "report.html", title=HOSTILE)
    with tab(browser, size=size, scheme=scheme) as page:
        page.goto((tmp_path / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.scripts.length") == 0
        assert page.evaluate(FAINT) == []
        assert page.said == []
        assert len(page.asked) == 1
