"""The page: nothing in it runs but its own script; and in a browser it slides, flips, zooms and sorts."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from helpers.browser import Browser, chromium
from helpers.run_folders import compared, make_run
from sr_lightning.report.images import Versions
from sr_lightning.report.page import page
from sr_lightning.report.plots import Plot

HOSTILE = "</script><img src=x onerror=alert(1)>{script}&<!--"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4" style="fill:red"/></svg>'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of two runs and two groups with names that would be markup; its path and its images."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(1)
    for i, scale in enumerate((4, 4, 4, 2)):
        make_run(
            folder / f"runs/{i}",
            beta=i / 10,
            gain=1 + i,
            scale=scale,
            sets={"Five": 5, HOSTILE: 6},
            config={"kind": HOSTILE},
        )
    found = compared(folder / "runs")
    images = []
    for group in found.groups:
        own = []
        for k, image in enumerate(list(group.ranked[0].contender.first.images[group.sets[0]])[:3]):
            hr = rng.integers(0, 256, (40 + 10 * k, 60, 3), dtype=np.uint8)
            methods = {
                i: np.clip(hr.astype(int) + 9 * i + 3, 0, 255).astype(np.uint8) for i in range(len(group.ranked))
            }
            named = image._replace(name=HOSTILE if k == 1 else image.name)
            own.append(Versions(group.sets[0], named, hr, 255 - hr, methods))
        images.append(own)
    path = folder / "compare.html"
    path.write_text(page(found, [Plot("a", HOSTILE, b"", SVG)], images, megabytes=5))
    return path, images


def content(path):
    """Its text, and its data as strict JSON."""
    text = path.read_text()
    return text, json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1],
        parse_constant=pytest.fail,
    )


def test_the_policy_lets_only_its_own_script_and_style_in(made):
    text, _ = content(made[0])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert not re.search("https?://", text.replace("http://www.w3.org/2000/svg", ""))


def test_names_are_data_and_never_markup(made):
    text, data = content(made[0])
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert data["groups"][1]["images"][1]["name"] == HOSTILE
    assert HOSTILE in data["blocks"][0]["columns"]


def test_without_images_it_says_how_to_get_them(tmp_path):
    make_run(tmp_path / "a")
    found = compared(tmp_path)
    (tmp_path / "p.html").write_text(page(found, [], [[]], megabytes=1))
    assert "images=true" in content(tmp_path / "p.html")[1]["images_note"]


def test_it_stays_in_its_budget(made):
    path, images = made
    found = compared(path.parent / "runs")
    for megabytes in (0.2, 0.1):
        assert len(page(found, [], images, megabytes=megabytes)) <= megabytes * 1e6


needs_browser = pytest.mark.skipif(chromium() is None, reason="needs Chromium, on the PATH or as $CHROMIUM")


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.fixture
def opened(made, browser):
    browser.resize(1280, 900)
    browser.open(made[0], "#g=1")
    browser.errors.clear()
    yield browser
    assert browser.errors == []
    assert all(url.startswith(("file:", "data:", "about:")) for url in browser.requests)


def pixel(browser, fx, fy, pane=0):
    """The colour at a place of a pane, by fractions."""
    return browser.run(
        f"(() => {{ const c = document.querySelectorAll('canvas')[{pane}];"
        " const one = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });"
        f" one.drawImage(c, -Math.floor(c.width * {fx}), -Math.floor(c.height * {fy}));"
        " return [...one.getImageData(0, 0, 1, 1).data.slice(0, 3)] })()"
    )


def at(image, fx, fy):
    """The pixel of an image at the same place, where it is shown whole."""
    return image[int(fy * image.shape[0]), int(fx * image.shape[1])].tolist()


@needs_browser
def test_number_keys_flip_in_place(opened, made):
    one = made[1][1][0]
    opened.press("g", "f")
    fit = opened.run("(() => { const c = document.querySelector('canvas'); return c.width / c.height })()")
    x = lambda fx: 0.5 + (fx - 0.5) * (60 / 40) / fit  # noqa: E731 (short, beside its use)  # the image stands in the middle of a wider pane
    for key, image in zip("123", one.all(), strict=False):
        opened.press(key)
        assert pixel(opened, x(0.31), 0.26) == at(image, 0.31, 0.26)
    assert "m=2" in opened.run("location.hash")


@needs_browser
def test_the_slider_shows_a_left_and_b_right(opened, made):
    one = made[1][1][0]
    opened.open(made[0], "#g=1&i=0&view=slider&a=0&b=1&s=0.5")
    fit = opened.run("(() => { const c = document.querySelector('canvas'); return c.width / c.height })()")

    def x(fx):
        return 0.5 + (fx - 0.5) * (60 / 40) / fit

    assert pixel(opened, x(0.31), 0.26) == at(one.hr, 0.31, 0.26)
    assert pixel(opened, x(0.71), 0.26) == at(one.bicubic, 0.71, 0.26)
    opened.press(*"," * 20)
    assert pixel(opened, x(0.31), 0.26) == at(one.bicubic, 0.31, 0.26)
    opened.run("document.querySelector('input[type=range]').focus()")
    assert opened.run("document.querySelector('input[type=range]').value") == "100"


@needs_browser
def test_all_panes_zoom_and_pan_in_step(opened, made):
    one = made[1][1][0]
    opened.press("g")
    assert opened.run("document.querySelectorAll('canvas').length") == 5
    box = opened.run(
        "(() => { const b = document.querySelectorAll('canvas')[1].getBoundingClientRect();"
        " scrollBy(0, b.top - 200); return [b.left + b.width * 0.7, 200 + b.height * 0.4, b.width, b.height] })()"
    )
    opened.mouse("mouseWheel", box[0], box[1], deltaX=0, deltaY=-600)
    opened.mouse("mousePressed", box[0], box[1], button="left", clickCount=1)
    opened.mouse("mouseMoved", box[0] - 20, box[1] + 5, button="left", buttons=1)
    opened.mouse("mouseReleased", box[0] - 20, box[1] + 5, button="left")
    opened.settle()
    state = dict(part.split("=") for part in opened.run("location.hash")[1:].split("&"))
    z, x, y = (float(state[key]) for key in "zxy")
    assert z == pytest.approx(np.exp(2), rel=1e-3)
    size = opened.run("(() => { const c = document.querySelector('canvas'); return [c.width, c.height] })()")
    scale = min(size[0] / 60, size[1] / 40) * z
    for pane, image in enumerate(one.all()):
        for fx, fy in ((0.37, 0.41), (0.83, 0.77)):
            column, row = x * 60 + (fx - 0.5) * size[0] / scale, y * 40 + (fy - 0.5) * size[1] / scale
            if min(column % 1, row % 1) > 0.1 and max(column % 1, row % 1) < 0.9:  # not at the edge of a pixel
                assert pixel(opened, fx, fy, pane) == image[int(row), int(column)].tolist()
    assert "Y " in opened.run("document.querySelector('.pixels').textContent")


@needs_browser
def test_error_and_signed_maps(opened, made):
    one = made[1][1][0]
    opened.open(made[0], "#g=1&i=0&view=grid&show=error&gain=4")
    error = np.abs(one.methods[0].astype(int) - one.hr) * 4
    assert pixel(opened, 0.51, 0.51, 2) == at(error, 0.51, 0.51)
    opened.open(made[0], "#g=1&i=0&show=signed&a=2&b=1&gain=4")  # a is nearer nearly everywhere: blue
    opened.press("f")
    r, _, b = pixel(opened, 0.5, 0.5)
    assert b > r
    opened.open(made[0], "#g=1&i=0&show=signed&a=1&b=2&gain=4")
    r, _, b = pixel(opened, 0.5, 0.5)
    assert r > b


@needs_browser
def test_tables_sort_by_mouse_and_by_keyboard(opened):
    column = "[...document.querySelectorAll('table')[2].tBodies[0].rows].map((r) => r.cells[2].textContent)"
    before = opened.run(column)
    head = "document.querySelectorAll('table')[2].tHead.rows[0].cells[2].querySelector('button')"
    opened.run(f"{head}.click()")
    rising = [float(text.split("/")[0]) for text in opened.run(column)]
    assert rising == sorted(rising)
    opened.run(f"{head}.focus()")
    opened.press("Enter")
    falling = [float(text.split("/")[0]) for text in opened.run(column)]
    assert falling == sorted(rising, reverse=True)
    assert sorted(before) == sorted(opened.run(column))


@needs_browser
def test_a_hostile_file_name_stays_text(opened, made):
    opened.press("ArrowRight")
    opened.wait("document.body.dataset.ready === '1/1'")
    assert HOSTILE in opened.run("document.body.innerText")
    assert opened.run("document.querySelectorAll('img[src=x], main script').length") == 0
    assert opened.run("document.querySelectorAll('main img').length") == 1  # the plot, whose inline styles are its own


@needs_browser
def test_a_link_shows_the_same_view(opened, made):
    opened.press("g", "n", "+", "l", "e")
    link = opened.run("location.hash")
    first = opened.run("document.querySelectorAll('canvas')[3].toDataURL()")
    opened.open(made[0], link)
    opened.settle()
    assert opened.run("location.hash") == link
    assert opened.run("document.querySelectorAll('canvas')[3].toDataURL()") == first
    opened.open(made[0], "#g=99&i=-5&view=x&show=%3Cb%3E&z=1e9&x=nan&__proto__=1&m=77")
    assert opened.run("location.hash").startswith("#g=1&i=0&view=flip&show=image")


@needs_browser
def test_a_phone_needs_no_sideways_scrolling(opened, made):
    opened.resize(390, 844, mobile=True)
    opened.open(made[0])
    assert opened.run("document.documentElement.scrollWidth") == 390
    opened.press("g")
    assert opened.run("getComputedStyle(document.querySelector('.panes')).gridTemplateColumns.split(' ').length") == 2
