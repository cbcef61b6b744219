"""Alembic's migrations, shipped in the wheel and run by `headrace.catalog.store.migrate` at every start."""
