"""The job host: what jobs should exist, and the loop that makes the cluster agree.

`model` has the values, `repository` stores them, `planning` turns a pipeline into a checked `JobSpec`, `decide` is the pure decision of the
reconciler, `realize` carries decisions out, `host` is what users call, `reconciler` runs the loop. Versions, upgrade and rollback come later.
"""
