"""The endpoints as tools for language models: off unless asked for."""

import base64
import importlib.util
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from app_fixtures import _free_port
from conftest import GOLDEN

from app import app as application
from clipbert.cli import main

VIDEO = GOLDEN / "video_a30.mp4"


def in_session(url: str, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """What `work` returns of a session with the MCP server at `url`."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def run() -> Any:
        async with streamable_http_client(url) as (receive, send, _), ClientSession(receive, send) as session:
            await session.initialize()
            return await work(session)

    with ThreadPoolExecutor(1) as thread:  # playwright's event loop, once a browser test has run here, keeps hold of this one
        return thread.submit(anyio.run, run).result()


@pytest.fixture
def served(app_predictor: Any, app_url: str, tmp_path: Path) -> Any:
    """The address of a second app that is an MCP server."""
    examples = tmp_path / "examples"
    examples.mkdir()
    app = application.build_app(app_predictor, examples=examples)
    yield application.launch(app, server_port=_free_port(), mcp_server=True) + application.MCP_PATH
    app.close()


def test_without_the_switch_there_is_no_mcp_server(app_url: str) -> None:
    import httpx

    assert httpx.post(f"{app_url}{application.MCP_PATH}", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code in (404, 405)


def test_the_endpoints_and_nothing_else_are_tools(served: str) -> None:
    tools = in_session(served, lambda session: session.list_tools()).tools
    assert {tool.name for tool in tools} == {"ask", "multiple_choice", "sample", "sweep", "attribute", "faithfulness", "retrieve", "cost", "tables"}
    assert all(tool.description for tool in tools)


def test_a_tool_looks_at_a_video_that_is_sent_and_opens_no_file_of_the_server(served: str) -> None:
    sent = "data:video/mp4;base64," + base64.b64encode(VIDEO.read_bytes()).decode()
    found = in_session(served, lambda session: session.call_tool("sample", {"video": sent, "num_clips": 2}))
    assert not found.isError and "'clips'" in found.content[0].text
    refused = in_session(served, lambda session: session.call_tool("sample", {"video": str(VIDEO)}))
    assert refused.isError and "provide a url" in refused.content[0].text


def test_without_its_package_the_switch_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mcp" else find_spec(name, *rest))
    assert main(["app", "--mcp"]) == 2
    assert "--mcp needs the package mcp, which is not installed; pip install 'clipbert[mcp]'." in capsys.readouterr().err
