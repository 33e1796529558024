"""Headless Chromium, driven by its own debugging protocol: loads pages, clicks, types, takes screenshots.

Needs nothing but the browser, and the client of web sockets that viser brings.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# WebGL by SwiftShader, since there may be no GPU; nothing in the background, which would ask for hosts in the internet.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)

_ANSWER_SECONDS = 60.0  # that the browser may take over a call: drawing by the CPU keeps a page busy


def find_chromium() -> str | None:
    """Path of a Chromium on this machine; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page of a Chromium of its own, as a context manager.

    Args:
        url: to load.
        width: pixels.
        height: pixels.

    Raises:
        RuntimeError: if there is no Chromium, or it does not start.
    """

    def __init__(self, url: str, width: int = 1280, height: int = 800) -> None:
        program = find_chromium()
        if program is None:
            raise RuntimeError(f"no Chromium on this machine: none of {', '.join(NAMES)} is on PATH")
        from websockets.sync.client import connect

        self.requests: list[str] = []  # addresses that the page asked for
        self.errors: list[str] = []  # uncaught, or logged as such by the page
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [program, *_FLAGS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen([*command, "about:blank"], stderr=subprocess.DEVNULL)
        try:
            port, _ = _wait_for(self._port_file, 60.0).split("\n")
            target = _wait_for(lambda: _page_target(int(port)), 30.0)
            self._socket = connect(target, max_size=None, ping_interval=None)
            self._numbers = itertools.count(1)
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self.call("Emulation.setDeviceMetricsOverride", **size)
            self.call("Page.navigate", url=url)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol, and note what happened meanwhile.

        Raises:
            RuntimeError: if the browser refuses.
            TimeoutError: if it does not answer.
        """
        number, end = next(self._numbers), time.monotonic() + _ANSWER_SECONDS
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.0, end - time.monotonic())))
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true; one that cannot be evaluated yet is not.

        Raises:
            TimeoutError: if that takes longer.
        """
        quietly = f"(() => {{ try {{ return Boolean({script}) }} catch {{ return false }} }})()"
        _wait_for(lambda: self.evaluate(quietly), seconds, script)

    def text(self) -> str:
        """All text that the page shows."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def click(self, x: float, y: float) -> None:
        """Click at a place of the page, in pixels."""
        self.drag([(x, y)])

    def drag(self, places: list[tuple[float, float]]) -> None:
        """Press the mouse at the first place, move it to the others, and release it."""
        (x, y), button = places[0], {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, buttons=1, **button)
        for x, y in places[1:]:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, buttons=1, **button)
            time.sleep(0.05)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **button)

    def centre(self, element: str) -> tuple[float, float]:
        """Middle of an element, given as an expression of JavaScript."""
        measure = "(e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })"
        box = self.evaluate(f"{measure}({element})")
        return box[0] + box[2] / 2, box[1] + box[3] / 2

    def settle(self, frames: int = 10) -> None:
        """Wait until the page has drawn some frames, and close what it says about graphics without a GPU."""
        self.wait("document.body.innerText.includes('Software WebGL')", 20)
        self.evaluate(
            "document.querySelectorAll('.mantine-Notification-closeButton').forEach(button => button.click())"
        )
        self.wait("!document.body.innerText.includes('Software WebGL')", 20)
        step = "new Promise(done => requestAnimationFrame(() => done(true)))"
        for _ in range(frames):
            self.evaluate(step)

    def screenshot(self, path: Path | None = None) -> bytes:
        """A PNG of the page, also written to a file."""
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
        return png

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])

    def _port_file(self) -> str | None:
        if self._process.poll() is not None:
            raise RuntimeError(f"Chromium ended with code {self._process.returncode} while it started")
        file = Path(self._folder.name, "DevToolsActivePort")
        content = file.read_text() if file.exists() else ""
        return content if "\n" in content else None


def _page_target(port: int) -> str | None:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        targets = json.load(answer)
    return next((target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"), None)


def _wait_for(value: Callable[[], Any], seconds: float, what: str = "Chromium") -> Any:
    end = time.monotonic() + seconds
    while not (found := value()):
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds:g} s still waiting for {what}")
        time.sleep(0.1)
    return found
