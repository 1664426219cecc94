"""Chromium without a screen, driven over its own protocol: what an operator's browser does with a page.

Debian's `chromium`, started for a module of tests; each test has a browser context of its own, with its own cookies.
Nothing sleeps: whatever is waited for is looked at by the page itself, within a deadline.
"""

import asyncio
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

START_DEADLINE_S = 60.0
DEADLINE_S = 30.0

Answer = dict[str, Any]

_WAIT = """
new Promise((done, failed) => {
  const until = performance.now() + %d;
  const look = () => {
    let found = false;
    try { found = %s; } catch (error) { found = false; }
    if (found) done(true);
    else if (performance.now() > until) done(false);
    else setTimeout(look, 20);
  };
  look();
})
"""


class Browser:
    """A running Chromium and the line to it."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse) -> None:
        self._line = line
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._tabs: dict[str, Tab] = {}

    async def listen(self) -> None:
        """Hand on what the browser says, until the line ends."""
        async for message in self._line:
            said = json.loads(message.data)
            waiting = self._answers.pop(said.get("id", 0), None)
            if waiting is not None:
                if not waiting.done():
                    waiting.set_result(said)
            elif said.get("sessionId") in self._tabs:
                self._tabs[said["sessionId"]].hear(said["method"], said["params"])

    async def call(self, method: str, parameters: Mapping[str, object] = {}, *, tab: str | None = None) -> Answer:
        """Return what the browser answers to a command."""
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        asked: dict[str, object] = {"id": number, "method": method, "params": dict(parameters)}
        if tab is not None:
            asked["sessionId"] = tab
        await self._line.send_str(json.dumps(asked))
        async with asyncio.timeout(DEADLINE_S):
            said = await answer
        assert "error" not in said, (method, said)
        result: Answer = said["result"]
        return result

    @asynccontextmanager
    async def visit(
        self, *, width: int = 1280, height: int = 900, language: str = "en", theme: str = "light", scripts: bool = True
    ) -> AsyncIterator["Tab"]:
        """A tab with cookies of its own, until the block ends; then nothing may have gone wrong in it."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = (await self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context}))[
            "targetId"
        ]
        session = (await self.call("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        tab = Tab(self, session)
        self._tabs[session] = tab
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await tab.call("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        await tab.call("Emulation.setEmulatedMedia", {"features": features})
        await tab.call("Emulation.setFocusEmulationEnabled", {"enabled": True})  # however many tabs there are
        await tab.call("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": language}})
        if not scripts:
            await tab.call("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            yield tab
        finally:
            await self.call("Target.disposeBrowserContext", {"browserContextId": context})
            del self._tabs[session]


class Tab:
    """One page that is looked at."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = asyncio.Event()
        self.troubles: list[str] = []
        """What the page complained about: exceptions, refused by the CSP, not found."""

    def hear(self, method: str, said: Answer) -> None:
        """Remember what happened in the page."""
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Runtime.exceptionThrown":
                self.troubles.append(json.dumps(said["exceptionDetails"])[:500])
            case "Log.entryAdded" if said["entry"]["level"] in {"error", "warning"}:
                self.troubles.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled" if said["type"] in {"error", "warning", "assert"}:
                self.troubles.append(json.dumps(said["args"])[:500])
            case _:
                pass

    async def call(self, method: str, parameters: Mapping[str, object] = {}) -> Answer:
        """Return what the page answers to a command."""
        return await self._browser.call(method, parameters, tab=self._session)

    async def go(self, address: str) -> None:
        """The page at the address has loaded."""
        self._loaded.clear()
        await self.call("Page.navigate", {"url": address})
        await self.wait_loaded()

    async def wait_loaded(self) -> None:
        """The page that was on its way has loaded."""
        async with asyncio.timeout(DEADLINE_S):
            await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:  # noqa: ANN401 whatever the script gives
        """Return what the script gives."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = await self.call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """The condition, in JavaScript, is true."""
        is_so = await self.evaluate(_WAIT % ((DEADLINE_S - 5) * 1000, condition))

        assert is_so, (condition, await self.text())

    async def wait_for_text(self, text: str) -> None:
        """The page shows the text."""
        await self.wait_for(f"document.body.innerText.includes({json.dumps(text)})")

    async def text(self) -> str:
        """Return what can be read on the page."""
        return str(await self.evaluate("document.body.innerText"))

    async def click(self, selector: str) -> None:
        """What the selector finds is clicked, and so is what follows by itself."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def click_through(self, selector: str) -> None:
        """What the selector finds is clicked, and the page it leads to has loaded."""
        self._loaded.clear()
        await self.click(selector)
        await self.wait_loaded()

    async def fill(self, selector: str, text: str) -> None:
        """The field holds the text, typed as by a keyboard."""
        await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()"
        )
        await self.call("Input.insertText", {"text": text})

    async def press(self, key: str, code: int) -> None:
        """The key is pressed and let go."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            )


@asynccontextmanager
async def chromium(*more: str) -> AsyncIterator[Browser]:
    """A Chromium that runs until the block ends, and leaves nothing behind."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: tests/run installs it"
    with tempfile.TemporaryDirectory(prefix="mail2sms-chromium-", ignore_cleanup_errors=True) as profile:
        arguments: Sequence[str] = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={profile}", *more, "about:blank",
        ]  # fmt: skip
        environment = {**os.environ, "HOME": profile, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile}
        process = await asyncio.create_subprocess_exec(
            program, *arguments, env=environment, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.TaskGroup() as group:
                address = await _find_address(process.stderr)
                drain = group.create_task(process.stderr.read(), name="chromium-stderr")
                async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as line:
                    browser = Browser(line)
                    listening = group.create_task(browser.listen(), name="chromium")
                    try:
                        yield browser
                    finally:
                        listening.cancel()
                        drain.cancel()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 9)
            await process.wait()


async def _find_address(stderr: asyncio.StreamReader) -> str:
    """Return where it listens, which it says itself."""
    said = []
    async with asyncio.timeout(START_DEADLINE_S):
        while line := (await stderr.readline()).decode("utf-8", "replace"):
            said.append(line)
            if "DevTools listening on " in line:
                return line.partition("DevTools listening on ")[2].strip()
    raise AssertionError("chromium did not start: " + "".join(said)[-2000:])
