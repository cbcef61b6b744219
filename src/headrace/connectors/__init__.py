"""One module per system: the options a table may declare, what the system can do, the physical options Flink gets.

`model` has the shared types, `registry` the modules by name, `external` the seams to brokers and stores that `apply` creates resources in.
Systems differ by the data in their `System` value; adding one is adding a module and a line in the registry.
"""
