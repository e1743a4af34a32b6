"""The page of `compare --blind`: two answers side by side, in an order that hides whose they are; a key votes.

The decision: it is served to this machine alone, under an address that cannot be guessed and is asked for with every
request, so no other page in the browser can vote. A vote is on the disk before the next item is shown.
"""

import json
import os
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tunesmith.errors import UsageError
from tunesmith.evaluation.compare import require_same
from tunesmith.evaluation.votes import Contest, Tally, load_votes, side, tally

LARGEST = 1000
"""Bytes of a vote as it is sent, at most."""


class Ballot:
    """What is voted on, and the file that keeps the votes. Items on which both said the same are left out."""

    def __init__(self, contest: Contest, kept: Path) -> None:
        require_same(contest.left, contest.right)
        pairs = enumerate(zip(contest.left, contest.right, strict=True))
        self._pairs = {place: (a, b) for place, (a, b) in pairs if a.answer != b.answer}
        self._contest, self._kept = contest, kept
        self.votes, self.unsure = load_votes(kept, contest)
        if not self._pairs:
            raise UsageError("Both answered the same everywhere, so there is nothing to vote on.")

    def following(self) -> dict[str, Any] | None:
        """The next item to vote on, as the page shows it; None when all have a vote."""
        left = [place for place in self._pairs if place not in self.votes]
        if not left:
            return None
        a, b = self._pairs[left[0]]
        first, second = (b, a) if self._contest.swapped(left[0]) else (a, b)
        return {
            "index": left[0], "prompt": a.prompt, "reference": a.reference, "first": first.answer,
            "second": second.answer, "done": len(self._pairs) - len(left), "all": len(self._pairs),
        }  # fmt: skip

    def vote(self, place: int, shown: str) -> None:
        """Keep a vote for the answer that was shown `first` or `second`, or for none (`tie`).

        Raises:
            UsageError: no such item or vote.
        """
        if place not in self._pairs or shown not in ("first", "second", "tie"):
            raise UsageError(f"{shown!r} on item {place}: there is no such vote.")
        vote = side(shown, swapped=self._contest.swapped(place))  # type: ignore[arg-type]
        with self._kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._contest.line(place, vote)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.votes[place] = vote

    def result(self) -> Tally:
        """The votes so far."""
        return tally(self.votes[place] for place in self._pairs if place in self.votes)


def serve(ballot: Ballot, *, port: int, tell: Callable[[str], object]) -> Tally:
    """Serve the page until every item has a vote or somebody stops it; the votes so far.

    Raises:
        UsageError: the port is taken.
    """
    token = secrets.token_urlsafe(16)
    try:
        server = server_of(ballot, token, port)
    except OSError as error:
        raise UsageError(
            f"port {port}: cannot be listened on ({error.strerror}). Choose another with --port."
        ) from error
    if ballot.unsure:
        tell(f"{ballot.unsure} votes of an older version do not say whose answers they are on; they are counted here")
    with server:
        tell(f"vote at http://127.0.0.1:{server.server_address[1]}/{token} (Ctrl-C ends)")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            tell("stopped; the votes so far are kept")
    return ballot.result()


def server_of(ballot: Ballot, token: str, port: int) -> ThreadingHTTPServer:
    """The server, listening on this machine alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/{token}":
                self._send(200, PAGE.encode(), "text/html; charset=utf-8")
            elif self.path == f"/{token}/next":
                self._send_json(ballot.following() or {"result": str(ballot.result())})
            else:  # a browser asks for an icon by itself, and writes a refusal down as the page's error
                self._send(204 if self.path == "/favicon.ico" else 404, b"", "text/plain")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.path != f"/{token}/vote" or not 0 < length <= LARGEST:
                self._send(404, b"", "text/plain")
                return
            try:
                sent = json.loads(self.rfile.read(length))
                ballot.vote(int(sent["index"]), str(sent["vote"]))
            except (ValueError, KeyError, TypeError, UsageError):
                self._send(400, b"", "text/plain")
                return
            self._send_json(ballot.following() or {"result": str(ballot.result())})

        def _send_json(self, value: object) -> None:
            self._send(200, json.dumps(value).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which answer is better?</title><style>
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --back: #fff; --card: #f5f6f8; --a: #2f6fb3 }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ee; --soft: #a3acbd; --back: #14171d; --card: #1e232c;
  --a: #7db4ec } }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--back) }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0 }
.card { background: var(--card); border-radius: .5rem; padding: 1rem }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; margin: 1rem 0 }
@media (max-width: 40rem) { .pair { grid-template-columns: 1fr } }
button { font: inherit; padding: .5rem 1rem; border-radius: .4rem; border: 1px solid var(--soft); background: none;
  color: var(--ink); cursor: pointer }
button:focus-visible { outline: 2px solid var(--a) }
nav { display: flex; gap: .5rem; flex-wrap: wrap } details { margin-top: 1rem } p, summary { color: var(--soft) }
</style></head><body>
<p id="done" role="status"></p><div class="card"><pre id="prompt"></pre></div>
<div class="pair"><div class="card"><pre id="first"></pre></div><div class="card"><pre id="second"></pre></div></div>
<nav><button data-vote="first">1: the first</button><button data-vote="second">2: the second</button>
<button data-vote="tie">0: neither</button></nav>
<details><summary>What was hoped for</summary><pre id="reference"></pre></details>
<script>
const here = location.pathname; let item = null;
function show(found) {
  if (found.result) { item = null; document.body.textContent = "All voted. " + found.result; return; }
  item = found;
  for (const name of ["prompt", "first", "second", "reference"])
    document.getElementById(name).textContent = found[name];
  document.getElementById("done").textContent = `${found.done} of ${found.all} voted`;
  document.querySelector("details").open = false;
}
async function vote(which) {
  if (!item) return;
  const body = JSON.stringify({index: item.index, vote: which}); item = null;
  show(await (await fetch(here + "/vote", {method: "POST", body})).json());
}
document.querySelectorAll("button").forEach(b => b.onclick = () => vote(b.dataset.vote));
addEventListener("keydown", e => { const w = {1: "first", 2: "second", 0: "tie"}[e.key];
  if (w && !e.repeat && !e.ctrlKey && !e.metaKey && !e.altKey) vote(w); });
fetch(here + "/next").then(r => r.json()).then(show);
</script></body></html>
"""
