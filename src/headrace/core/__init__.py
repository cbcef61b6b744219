"""What every layer shares: errors, clock, randomness, configuration, logging, schema types, paths of a stack's home.

Standard library and msgspec only; no input or output beyond reading a configuration file.
"""
