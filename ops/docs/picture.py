"""The pictures of the documentation: parts of a demo's report in headless Chromium, light theme.

    .venv/bin/cpn demo
    .venv/bin/python ops/docs/picture.py cpn-demo/report.html ops/docs/img

Writes report.png (the result, and prices beside load) and map.png (where the work ran). What lies between the parts of a
picture is hidden. Needs chromium and chromedriver on PATH, and selenium (extra ``test``).
"""

import base64
import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

WIDTH = 1180
"""Width of the window in CSS pixels; at one device pixel each a picture stays below 400 KB."""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
PICTURES = {
    "report.png": ("main > *", "#result, #follows", "#follows > *", "header, #heat-controls, #heat-controls + .pair"),
    "map.png": ("main > *", "#map", "#map > *", "header, #map-controls, figure"),
}
"""Of the elements of the first and third selector, those that match the second and fourth are shown."""
_SHOW = """
const [outer, kept, inner, within] = arguments;
for (const [all, some] of [[outer, kept], [inner, within]])
  for (const e of document.querySelectorAll(all)) e.style.display = e.matches(some) ? "" : "none";
for (const e of document.querySelectorAll("footer, header.bar")) e.style.display = "none";
const shown = [...document.querySelectorAll(inner)].filter((e) => e.style.display !== "none");
return Math.ceil(Math.max(...shown.map((e) => e.getBoundingClientRect().bottom + window.scrollY))) + 24;
"""


def start(profile: str) -> WebDriver:
    """Return headless Chromium with a fresh profile and the light theme."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit("no chromium and chromedriver on PATH: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    size = {"width": WIDTH, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", light)
    return browser


def shoot(browser: WebDriver, page: Path, picture: Path) -> None:
    """Write the parts of ``page`` that belong in ``picture``."""
    browser.get(page.resolve().as_uri())
    WebDriverWait(browser, 30).until(
        lambda b: b.execute_script("return document.documentElement.dataset.ready === 'yes'")
    )
    height = browser.execute_script(_SHOW, *PICTURES[picture.name])
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    picture.write_bytes(base64.b64decode(shot["data"]))


def main(page: Path, folder: Path) -> None:
    """Write all pictures of the report ``page`` into ``folder``."""
    with tempfile.TemporaryDirectory() as profile:
        browser = start(profile)
        try:
            for name in PICTURES:
                shoot(browser, page, folder / name)
        finally:
            browser.quit()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python ops/docs/picture.py REPORT.html FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
