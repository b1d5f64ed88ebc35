"""Headless Chromium for tests: opens a page in a window of a given width, through the browser's own debugging pipe."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    # A page that is thought to be out of sight draws no frames, and its charts would wait for ever.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE_S = 60.0


class Tab:
    """One page in a browser of its own: evaluates scripts, moves the pointer, and keeps what was said and asked for.

    Parameters
    ----------
    browser : str
        Path of Chromium.
    profile : pathlib.Path
        A new folder for its settings.
    """

    def __init__(self, browser: str, profile: Path) -> None:
        command_in, command_out = os.pipe()
        answer_in, answer_out = os.pipe()

        def hand_over() -> None:
            # Chromium reads commands from file 3 and answers on file 4.
            high = [os.dup(one) for one in (command_in, answer_out)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=hand_over,
            pass_fds=(3, 4),
        )
        os.close(command_in)
        os.close(answer_out)
        self._out, self._in = command_out, answer_in
        self._rest = b""
        self._last = 0
        self._session: str | None = None
        self.requests: list[str] = []
        """Addresses the page asked for, itself among them."""
        self.console: list[str] = []
        """What it wrote on the console, and errors that nothing caught."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Inspector"):
            self._call(f"{domain}.enable")
        self._call("Page.bringToFront")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)

    def open(self, page: Path, *, width: int, height: int = 900) -> None:
        """Open a file in a window of the given size, and wait until it is loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url=page.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """Value of an expression on the page; a promise is awaited."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, *, what: str = "") -> None:
        """Wait until an expression on the page is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.run(condition):
            assert time.monotonic() < end, f"waited in vain for {what or condition}; console: {self.console}"
            time.sleep(0.02)

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a place in the window."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer)
        raise AssertionError(f"the browser ended at {method}")

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            part, found, rest = self._rest.partition(b"\0")
            if found:
                self._rest = rest
                yield json.loads(part)
                continue
            ready, _, _ = select.select([self._in], [], [], PATIENCE_S)
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            if not more:
                return
            self._rest += more

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(one.get("value", one)) for one in params["args"]))
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded":
                self.console.append(params["entry"]["text"])
            case "Inspector.targetCrashed" | "Target.targetCrashed":
                raise AssertionError(f"the page crashed: {params}")


@contextmanager
def opened(browser: str, page: Path, profile: Path, *, width: int) -> Iterator[Tab]:
    """A page in a window of the given width."""
    with Tab(browser, profile) as tab:
        tab.open(page, width=width)
        yield tab
