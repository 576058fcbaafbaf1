"""Moved to `flextok.pipelines.pipeline_tokenizer`, which serves all models; stays for one release."""

from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline as ReleasedTokenizerPipeline

__all__ = ["ReleasedTokenizerPipeline"]
