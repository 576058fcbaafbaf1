"""Toybox: the small world that clips with ground truth for everything are drawn from."""
