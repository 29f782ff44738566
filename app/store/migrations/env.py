"""How alembic runs the migrations: over the connection that `schema.migrate` made."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite changes a table only by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
