"""Clients that order under keys of their own until the service is gone, and remember what it acknowledged."""

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import requests

from tests.live_service import LiveService

CLIENTS = 4
ANSWER_SECONDS = 20
REFUSED_SECONDS = 0.1


@dataclass
class OrderBook:
    """`acknowledged` has the prediction of each key; `sent` has every key; `statuses` counts answers."""

    sent: set[str] = field(default_factory=set)
    acknowledged: dict[str, str] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    refused: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def order(self, service: LiveService, key: str) -> bool:
        """Whether the service answered at all. One key must name one prediction for ever."""
        self.sent.add(key)
        body = {"model": "bildwerk/flux-tiny", "prompt": key, "size": "64*64"}
        headers = {**service.headers, "Idempotency-Key": key}
        url = f"{service.url}/api/v1/model/generateImage"
        try:
            answer = requests.post(url, json=body, headers=headers, timeout=ANSWER_SECONDS)
        except requests.RequestException:
            return False
        self.statuses[answer.status_code] += 1
        if answer.status_code != 200:
            self.refused += 1
            time.sleep(REFUSED_SECONDS)
            return True
        prediction = str(answer.json()["id"])
        if self.acknowledged.setdefault(key, prediction) != prediction:
            self.breaches.append(f"{key} was {self.acknowledged[key]} and became {prediction}")
        return True


class Crowd:
    """Several clients at once; it ends when the service does."""

    def __init__(self, service: LiveService, book: OrderBook, name: str) -> None:
        self._service = service
        self._book = book
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._order, args=(f"{name}-{i}",)) for i in range(CLIENTS)]

    def start(self) -> None:
        for client in self._clients:
            client.start()

    def end(self) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _order(self, name: str) -> None:
        for number in itertools.count():
            if self._is_over.is_set() or not self._book.order(self._service, f"{name}-{number}"):
                return
