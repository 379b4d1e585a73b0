"""What Alembic runs for every migration: on the connection that `migrate` gives it, in that one transaction."""

from alembic import context

from bildwerk.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
