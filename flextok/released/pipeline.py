"""Moved: one pipeline serves own and released models."""

from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline as ReleasedTokenizerPipeline

__all__ = ["ReleasedTokenizerPipeline"]
