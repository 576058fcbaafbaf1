"""Tokens as things: of a clip, in files, in links, edited."""
