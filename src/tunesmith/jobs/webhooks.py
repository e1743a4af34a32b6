"""Webhooks: telling a client how its jobs ended, signed, and never to an address inside.

The decision: the message is stored in the transaction that ends the job and sent afterwards until somebody takes it,
so an ended job and its message cannot part. The signature is that of the Standard Webhooks specification
(https://www.standardwebhooks.com), which OpenAI's clients check.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.errors import RequestError
from tunesmith.jobs.names import new_id
from tunesmith.jobs.pages import Page, page
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Delivery, Webhook

EVENTS = ("fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled")
TRIES = 8
Address = tuple[str, int]


class Webhooks:
    """The endpoints that clients registered, and what is still to be sent to them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, name: str, url: str, event_types: list[str]) -> Webhook:
        """The new endpoint, with its secret.

        Raises:
            RequestError: the address is not public HTTPS, or an event is unknown.
        """
        unknown = [event for event in event_types if event not in EVENTS]
        if unknown or not event_types:
            raise RequestError(f"event_types: expected some of {', '.join(EVENTS)}.", param="event_types")
        public_address(url)
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        hook = Webhook(
            id=new_id("we"), created_at=self._store.now, name=name, url=url, event_types=event_types, secret=secret
        )
        with self._store.write() as session:
            session.add(hook)
        return hook

    def page(self, asked: Page) -> tuple[list[Webhook], bool]:
        """A page of the endpoints."""
        with self._store.read() as session:
            return page(session, select(Webhook), Webhook, asked)

    def delete(self, id: str) -> None:
        """The endpoint is gone, and with it what was still to be sent to it."""
        with self._store.write() as session:
            hook = session.scalar(select(Webhook).where(Webhook.id == id))
            if hook is None:
                raise RequestError(f"No such webhook endpoint: {id}", status=404, code="webhook_not_found")
            for delivery in session.scalars(select(Delivery).where(Delivery.webhook_id == id)):
                session.delete(delivery)
            session.flush()
            session.delete(hook)

    def send_due(self, send: Callable[[str, bytes, dict[str, str]], bool] | None = None) -> int:
        """Send what is due; what is not taken comes again later, at most eight times. Returns how many were taken."""
        taken = 0
        for delivery, hook in self._claimed():
            body = delivery.body.encode()
            headers = signed(hook.secret, delivery.id, self._store.now, body)
            done = (send or post)(hook.url, body, headers)
            taken += done
            if done or delivery.attempts >= TRIES:
                with self._store.write() as session:
                    session.execute(delete(Delivery).where(Delivery.seq == delivery.seq))
        return taken

    def _claimed(self) -> list[tuple[Delivery, Webhook]]:
        """What is due; it comes again by itself if whoever claimed it dies, and nobody else sends it meanwhile."""
        due = select(Delivery, Webhook).join(Webhook, Webhook.id == Delivery.webhook_id)
        due = due.where(Delivery.next_at <= self._store.now).order_by(Delivery.seq).limit(20)
        with self._store.write() as session:
            rows = [(row[0], row[1]) for row in session.execute(due.with_for_update(of=Delivery, skip_locked=True))]
            for delivery, _ in rows:
                delivery.attempts += 1
                delivery.next_at = self._store.now + max(60, 5 * 4**delivery.attempts)
        return rows


def notify(session: Session, event: str, job: str, now: int) -> None:
    """Store a message about a job for every endpoint that wants it; part of the caller's transaction."""
    body = {"object": "event", "id": new_id("evt"), "type": event, "created_at": now, "data": {"id": job}}
    for hook in session.scalars(select(Webhook)):
        if event in hook.event_types:
            message = Delivery(id=new_id("msg"), webhook_id=hook.id, body=json.dumps(body), attempts=0, next_at=now)
            session.add(message)
    session.flush()


def signed(secret: str, id: str, now: int, body: bytes) -> dict[str, str]:
    """The headers that prove a message: HMAC-SHA256 over `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id}.{now}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        "content-type": "application/json",
    }


def public_address(url: str, look_up: Callable[..., Any] = socket.getaddrinfo) -> Address:
    """The address to connect to for `url`.

    Raises:
        RequestError: it is not HTTPS, or any of its addresses is not a public one.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        parts, host, port = None, None, 443
    if parts is None or parts.scheme != "https" or not host or parts.username is not None:
        raise RequestError("url: expected https://HOST/PATH.", param="url", code="invalid_url")
    try:
        found = {str(entry[4][0]) for entry in look_up(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise RequestError(f"url: {host} is not known here.", param="url", code="invalid_url") from error
    if not found or not all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in found):
        raise RequestError("url: webhooks go to public addresses only.", param="url", code="private_address")
    return sorted(found)[0], port


def post(url: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the endpoint took the message. The address is looked up once, proved public, and connected to as such."""
    try:
        address, port = public_address(url)
        parts = urlsplit(url)
        host = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{host}:{port}").geturl()
        with httpx.Client(timeout=10, follow_redirects=False, trust_env=False) as client:
            answer = client.post(
                target, content=body, headers={**headers, "host": parts.netloc},
                extensions={"sni_hostname": parts.hostname},
            )  # fmt: skip
        return answer.is_success
    except (RequestError, httpx.HTTPError):
        return False
