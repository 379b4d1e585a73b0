"""A small client of the Model Context Protocol over a child's standard input and output."""

import itertools
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

ANSWER_SECONDS = 60


class McpClient:
    """Speaks to one server, a question at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._ids = itertools.count(1)

    def start(self) -> None:
        client = {"name": "contract-test", "version": "1"}
        self.request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.request("tools/list", {})["tools"]]

    def call(self, tool: str, **arguments: Any) -> str:
        """The text of the tool's answer. Raises `AssertionError` with it when the tool calls it an error."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        text: str = result["content"][0]["text"]
        assert not result.get("isError"), text
        return text

    def refusal(self, tool: str, **arguments: Any) -> str:
        """The text of the tool's error."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        assert result.get("isError"), result
        text: str = result["content"][0]["text"]
        return text

    def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        answer = self._answer(number)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _answer(self, number: int) -> dict[str, Any]:
        assert self._process.stdout is not None
        patience = threading.Timer(ANSWER_SECONDS, self._process.kill)
        patience.start()
        try:
            for line in self._process.stdout:
                message: dict[str, Any] = json.loads(line)
                if message.get("id") == number:
                    return message
        finally:
            patience.cancel()
        raise AssertionError("the MCP server ended without an answer")


@contextmanager
def mcp_server(command: list[str], environment: Mapping[str, str]) -> Iterator[McpClient]:
    """Start a server and shake hands; it ends when its input does."""
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            client = McpClient(process)
            client.start()
            yield client
        finally:
            process.kill()
