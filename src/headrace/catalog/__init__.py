"""The metadata service's store: tables, dims, jobs and the journal, in SQLite through SQLAlchemy and Alembic.

`models` maps the rows, `store` opens and migrates the database, `tables` and `journal` are the repositories, `published` writes what the
data plane reads (`data/schemas/*.json`, `data/dims/*.csv`).
"""
