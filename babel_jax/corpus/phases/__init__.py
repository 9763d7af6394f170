"""What the tasks of a build do, a module a phase; `order.PHASES` says in which order."""
