"""The HTTP interface of a live daemon over the real corpus, held to its OpenAPI document.

Usage: check.py GWA

The document is linted, then Schemathesis asks what it describes, and what it does not:
each operation with values that fit and values that do not, without the token and with
it. A server error, a status, a type or a shape of an answer that is not described fails.
The seed is fixed: a run that failed can be repeated.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
DOCUMENT = REPOSITORY / "src/api/openapi.json"
CORPUS = REPOSITORY / "fixtures/corpus/envelopes.rlps"

# How long the daemon may take to start, in seconds: debug builds on busy machines.
STARTING = 60

# For each operation and kind of values. More find little that these do not.
EXAMPLES = 15
SEED = 20181001


def main() -> int:
    gwa = Path(sys.argv[1]).resolve()
    tools = Path(sys.executable).parent
    subprocess.run([tools / "openapi-spec-validator", DOCUMENT], check=True)
    with tempfile.TemporaryDirectory(prefix="gwa-http-") as folder:
        data = Path(folder) / "archive"
        run = lambda *args: subprocess.run(
            [gwa, "--quiet", "--data", data, *args], check=True, stdout=subprocess.DEVNULL
        )
        run("init")
        run("import", CORPUS)
        run("seal")
        serve = [gwa, "--data", data, "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        log = Path(folder) / "log"
        with log.open("wb") as written:
            daemon = subprocess.Popen(serve, stdout=written, stderr=written)
        try:
            url = started(daemon, data / "run.json")
            token = (data / "rpc.token").read_text().strip()
            failed = [ask(tools, folder, url, None), ask(tools, folder, url, token)]
            alive = daemon.poll() is None
        finally:
            daemon.terminate()
            daemon.wait(timeout=30)
        if not alive or any(failed):
            print(log.read_text(errors="replace")[-4000:])
            return 1
        panics = re.findall(r"panicked|BUG:.*", log.read_text(errors="replace"))
        if panics:
            print(panics)
            return 1
    return 0


def started(daemon: subprocess.Popen, file: Path) -> str:
    """The address of the daemon, once it says it."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            raise SystemExit(f"gwa serve ended with {daemon.returncode}")
        if file.exists():
            address = json.loads(file.read_text()).get("http")
            if address:
                return address if address.startswith("http") else f"http://{address}"
        time.sleep(0.05)
    raise SystemExit("gwa serve did not start")


def ask(tools: Path, folder: str, url: str, token: str | None) -> int:
    """Asks everything once, and gives what the tester ends with."""
    print(f"--- {'with' if token else 'without'} the token", flush=True)
    arguments = [
        tools / "schemathesis",
        "--config-file",
        HERE / "schemathesis.toml",
        "run",
        DOCUMENT,
        "--url",
        url,
        "--seed",
        str(SEED),
        "--max-examples",
        str(EXAMPLES),
        "--generation-database",
        "none",
    ]
    if token:
        arguments += ["--header", f"Authorization: Bearer {token}"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
    return subprocess.run(arguments, cwd=folder, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
