"""Project folders: reading and validating what users declare, and applying tables through driver, connectors and catalog.

`head` reads the comment head of a pipeline, `project` a whole folder (or the same files as sent over HTTP), `apply` turns
table files into catalog entries, all or nothing.
"""
