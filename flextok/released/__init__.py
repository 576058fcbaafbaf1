"""The released VideoFlexTok checkpoints: their configs interpreted, their numbers matched (arXiv:2604.12887)."""
