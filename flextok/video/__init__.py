"""Video files and pixels. Files come from strangers: limits are checked before anything is decoded."""
