"""Prompts of long video: which action each chunk is asked for."""

from __future__ import annotations

import re

from flextok.toybox.caption import ACTION_WORDS

_PHRASES = sorted((phrase for phrases in ACTION_WORDS.values() for phrase in phrases), key=len, reverse=True)
_ACTION = re.compile(r"\b(?:" + "|".join(re.escape(phrase) for phrase in _PHRASES) + r")\b", re.IGNORECASE)


def chunk_prompts(prompt: str, count: int) -> list[str]:
    """One prompt for each of `count` chunks: "a ball bounces, then rolls left on sand" asks for one after the other.

    The chain of actions in the prompt is replaced by one of them at a time; the last one goes on if there are fewer
    actions than chunks, and those that do not fit are left out. A prompt without a known action serves every chunk.
    """
    actions = list(_ACTION.finditer(prompt))
    if len(actions) < 2:
        return [prompt] * count
    before, after = prompt[: actions[0].start()], prompt[actions[-1].end() :]
    chosen = [actions[min(i, len(actions) - 1)].group() for i in range(count)]
    return [before + action + after for action in chosen]
