"""Where weights come from: registry, Hub, strict and bounded reading, fingerprints."""
