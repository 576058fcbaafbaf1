"""What is asked of the Hub before anything is loaded."""

from __future__ import annotations

import time

import pytest

from flextok.loading.hub import why_unavailable


def test_a_hub_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own client tries five times for half a minute, while a page waits for what models there are."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    started = time.monotonic()
    assert "does not answer" in why_unavailable("owner/name")
    assert time.monotonic() - started < 5
