"""The program in the README runs as it is written, but for its port, and answers over HTTP until it is told to stop."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

README = Path(__file__).parents[2] / "README.md"


def program() -> str:
    section = README.read_text().partition("## In a Python program")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_program_of_the_readme_serves_and_drains(tmp_path: Path) -> None:
    text = program()
    assert text.count("127.0.0.1:8080") == 1
    file = tmp_path / "program.py"
    file.write_text(text.replace("127.0.0.1:8080", "127.0.0.1:0"))
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True, env=environment) as running:
        try:
            assert running.stdout is not None
            url = running.stdout.readline().removeprefix("listening on ").strip()
            assert url.startswith("http://127.0.0.1:")
            with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
                assert client.post("/users/ann", content=b'{"age": 41}').json() == {"index": "ann"}
                assert client.post("/settings", content=b'"dark"').json() == {"index": "settings"}
                assert client.get("/users/ann").json()["data"] == {"age": 41}
                assert client.get("/?api=info").json()["keys"] == ["users/*", "settings", "things/*"]
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0
