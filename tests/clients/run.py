"""Clients that others wrote, unmodified and each in an environment of its own, against a real server.

    python tests/clients/run.py [openai-1 | openai-3 | llm | langchain | node | page | reports] …

Installs what is missing under `.peers/clients` (needs the package indexes once), starts a server on a small random
model, and lets each client go the whole way.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from reports import made  # noqa: E402
from served import Server, served  # noqa: E402

PEERS = HERE.parents[1] / ".peers" / "clients"


def python(name: str, *packages: str) -> Path:
    """The programs of an environment that holds these packages."""
    folder = PEERS / name
    if not (folder / "ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages], check=True)
        (folder / "ready").touch()
    return folder / "bin"


def journey(server: Server, *words: object, cwd: Path = HERE) -> str:
    """What a client printed; it has to end well."""
    done = subprocess.run([*map(str, words)], env=server.environment(), cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    print(done.stdout.strip(), flush=True)
    return done.stdout


def openai(server: Server, version: str) -> None:
    """openai-python of a major version, sync and async."""
    place = python(f"openai-{version}", f"openai=={version}.*", *(["httpx<0.28"] if version == "1" else []))
    for kind in ("sync", "async"):
        journey(server, place / "python", "openai_journey.py", kind)


def llm(server: Server) -> None:
    """Simon Willison's `llm` command, with a tuned model of the server as one of its models."""
    place, name = python("llm", "llm"), server.tuned()
    folder = PEERS / "llm-user"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: tiny\n  model_name: {name!r}\n  api_base: {server.url}/v1\n  api_key_name: tiny\n"
    )
    (folder / "keys.json").write_text(f'{{"tiny": "{server.key}"}}')
    for more in ((), ("--no-stream",)):
        command = ["env", f"LLM_USER_PATH={folder}", place / "llm", "-m", "tiny", "-o", "max_tokens", "8", *more]
        journey(server, *command, "-o", "temperature", "0", "apple 1")
    print(f"llm: streamed and whole answers of {name}")


def langchain(server: Server) -> None:
    """langchain-openai."""
    place = python("langchain", "langchain-openai") / "python"
    journey(server, "env", f"MODEL={server.tuned()}", place, "langchain_journey.py")


def node(server: Server) -> None:
    """openai-node."""
    folder = PEERS / "node"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "openai").is_dir():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "openai"], cwd=folder, check=True)
    (folder / "journey.mjs").write_text((HERE / "node_journey.mjs").read_text())
    journey(server, "node", folder / "journey.mjs", cwd=folder)


def page(server: Server) -> None:
    """The server's own page, in the Chromium of this machine."""
    journey(server, "env", f"SERVER={server.url}", python("page", "playwright") / "python", "page_journey.py")


def reports(server: Server) -> None:
    """The pages of a run, a study and a comparison, and the one for votes, in the Chromium of this machine."""
    with tempfile.TemporaryDirectory() as folder, made(Path(folder)) as ballot:
        words = ("env", f"PAGES={folder}", f"BALLOT={ballot}", python("page", "playwright") / "python")
        journey(server, *words, "reports_journey.py")


CLIENTS = {
    "openai-3": lambda server: openai(server, "3"), "openai-1": lambda server: openai(server, "1"), "llm": llm,
    "langchain": langchain, "node": node, "page": page, "reports": reports,
}  # fmt: skip

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as running:
        for name in sys.argv[1:] or CLIENTS:
            CLIENTS[name](running)
