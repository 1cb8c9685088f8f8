"""The logger against a server of this machine that is up, down, and up again."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rnncallbacks import Run, load_plugins
from rnncallbacks.errors import ConfigurationError
from rnncallbacks.plugins import LossAveraging

from rnncallbacks_wandb_like import WandbLike

README = Path(__file__).parents[1] / "README.md"


class Server(HTTPServer):
    """Keeps the lines that it gets, unless it is refusing them or forgets them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lines: list[dict[str, Any]] = []
        self.refusing = self.forgets = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not self.server.refusing and not self.server.forgets:
            self.server.lines += [json.loads(line) for line in body.splitlines()]
        self.send_response(503 if self.server.refusing else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_rows_and_alarms_arrive(play: Callable[..., Run], server: Server) -> None:
    def act(run: Run) -> None:
        run.raise_alarm("X1", "a message", cause="a cause", remedy="a remedy", severity="info")

    run = play([WandbLike(url=server.url), LossAveraging()], losses=[2.0, 1.0], epochs=2, act=act)
    facts, alarm, *batches_and_epochs, end = server.lines
    assert facts["facts"]["wandb_like.url"] == server.url
    assert alarm == {"step": 1, "alarm": "X1", "message": "a message"}
    assert [line["batch/loss"] for line in batches_and_epochs if "batch/loss" in line] == [2.0, 1.0, 2.0, 1.0]
    losses = [line["epoch/train_loss"] for line in batches_and_epochs if "epoch/train_loss" in line]
    assert losses == run.history["train_loss"]
    assert end == {"step": 4, "outcome": "finished"}


def test_the_run_survives_a_server_that_is_down(play: Callable[..., Run], server: Server) -> None:
    server.refusing = True

    def act(run: Run) -> None:
        server.refusing = run.epoch < 3

    run = play([WandbLike(url=server.url)], losses=[1.0], epochs=4, act=act)
    assert [line["epoch/epoch"] for line in server.lines if "epoch/epoch" in line] == [1, 2, 3, 4]
    assert len(run.history) == 4


def test_nobody_listens(play: Callable[..., Run], caplog: pytest.LogCaptureFixture) -> None:
    with Server() as gone:
        url = gone.url
    run = play([WandbLike(url=url)], losses=[1.0], epochs=3)
    assert len(run.history) == 3
    assert [record.message.partition(" ")[0] for record in caplog.records] == [url]


@pytest.mark.rnncallbacks_budget(100)
def test_it_keeps_the_rules(check_plugin: Callable[..., None], server: Server) -> None:
    server.forgets = True  # its memory is that of this process
    check_plugin(lambda: WandbLike(url=server.url))


def test_the_configuration_of_the_readme_enables_it() -> None:
    (table,) = [block.partition("```")[0] for block in README.read_text("utf-8").split("```toml\n")[1:]]
    (plugin,) = load_plugins(tomllib.loads(table)).values()
    assert isinstance(plugin, WandbLike)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[plugins.wandb_like\] url: "):
        load_plugins({"plugins": {"wandb_like": {"url": "nowhere"}}})
