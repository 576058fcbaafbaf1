"""Moved to `flextok.pipelines.token_sampling`; this name stays for one release."""

from flextok.pipelines.token_sampling import *  # noqa: F403
