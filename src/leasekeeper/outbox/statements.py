"""The statements of the outbox: its table, and what writers and relays run on it.

Used by `Outbox` and by the relay. `{table}` is the table's name, `{plain}` the same without its schema.
"""

from __future__ import annotations

from leasekeeper.api import MAX_BYTES

VERSION = 1
"""The version of the table, which is in its comment."""
LABEL = "leasekeeper outbox"
"""What the comment of the table begins with."""

DEFINITION = """\
CREATE TABLE IF NOT EXISTS {table} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  fifo boolean NOT NULL GENERATED ALWAYS AS (right(queue, 5) = '.fifo') STORED,
  group_id text,
  deduplication_id text NOT NULL DEFAULT gen_random_uuid()::text,
  body text NOT NULL CHECK (body <> ''),
  attributes jsonb NOT NULL DEFAULT '{}',
  due timestamptz NOT NULL DEFAULT now(),
  retry timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  error text,
  failed timestamptz,
  CHECK (NOT fifo OR coalesce(group_id, '') <> '')
);
CREATE INDEX IF NOT EXISTS {plain}_due ON {table} (queue, due) WHERE retry IS NULL AND failed IS NULL;
CREATE INDEX IF NOT EXISTS {plain}_retry ON {table} (queue, retry) WHERE retry IS NOT NULL AND failed IS NULL;
CREATE INDEX IF NOT EXISTS {plain}_groups ON {table} (queue, group_id, id) WHERE fifo AND failed IS NULL;
CREATE INDEX IF NOT EXISTS {plain}_failed ON {table} (queue, id) WHERE failed IS NOT NULL;
COMMENT ON TABLE {table} IS 'leasekeeper outbox 1';
"""
TRIGGER = """\
CREATE OR REPLACE FUNCTION {table}_notify() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN NOTIFY {plain}; RETURN NULL; END$$;
CREATE OR REPLACE TRIGGER {plain}_notify AFTER INSERT ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {table}_notify();
"""
"""Wakes relays when the transaction commits; equal notifications of one transaction are one."""

INSERT = """\
INSERT INTO {table} (queue, group_id, deduplication_id, body, attributes, due)
VALUES (%(queue)s, %(group_id)s, coalesce(%(deduplication_id)s, gen_random_uuid()::text), %(body)s,
  %(attributes)s::jsonb, now() + %(delay)s * interval '1 second')"""

COMMENT = "SELECT obj_description(to_regclass(%(table)s), 'pg_class'), to_regclass(%(table)s) IS NOT NULL"
SESSION = "SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'"
"""A relay whose machine is gone loses its locks after this time; without it, after hours of TCP keepalives."""

QUEUES = """
WITH RECURSIVE queues AS (
  SELECT min(queue) AS queue FROM {table} WHERE {part}
  UNION ALL
  SELECT (SELECT min(queue) FROM {table} AS t WHERE {part} AND t.queue > queues.queue)
  FROM queues WHERE queue IS NOT NULL
)
SELECT queue FROM queues WHERE queue IS NOT NULL
"""
"""The queues that have rows: one step down the index for each queue, however many rows it has."""
FRESH, AGAIN = "retry IS NULL AND failed IS NULL", "retry IS NOT NULL AND failed IS NULL"
ASIDE = "failed IS NOT NULL"
"""The parts of the table, each with an index: never tried, tried before, set aside."""

# JSON as text: a document that Python cannot read must fail its row, and not the statement.
# The bodies of large rows stay in the table until they are needed, one at a time.
NAMES = "id, group_id, deduplication_id, body, attributes, attempts, size"
COLUMNS = f"""id, group_id, deduplication_id, CASE WHEN octet_length(body) <= {MAX_BYTES} THEN body END AS body,
  attributes::text AS attributes, attempts, octet_length(body) AS size"""
TAKE_AGAIN = f"""
SELECT {COLUMNS} FROM {{table}} WHERE queue = %(queue)s AND failed IS NULL AND retry <= now()
ORDER BY retry LIMIT %(most)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants of ours
TAKE_FRESH = f"""
SELECT {COLUMNS} FROM {{table}} WHERE queue = %(queue)s AND failed IS NULL AND retry IS NULL AND due <= now()
ORDER BY due, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608
# The first row of each message group, one step down the index a group; a group waits while its first row waits. The
# lock is the group's and not the rows': with SKIP LOCKED alone another relay would take the rows behind those that are
# locked, and overtake them.
LOCK_GROUPS = """
WITH RECURSIVE heads AS (
  (SELECT group_id, coalesce(retry, due) AS ready FROM {table}
   WHERE queue = %(queue)s AND fifo AND failed IS NULL AND group_id > %(after)s ORDER BY group_id, id LIMIT 1)
  UNION ALL
  SELECT next.group_id, next.ready FROM heads CROSS JOIN LATERAL (
    SELECT group_id, coalesce(retry, due) AS ready FROM {table} AS t
    WHERE queue = %(queue)s AND fifo AND failed IS NULL AND t.group_id > heads.group_id
    ORDER BY group_id, id LIMIT 1) AS next
), candidates AS MATERIALIZED (
  SELECT group_id FROM heads WHERE ready <= now() LIMIT %(most)s
)
SELECT group_id, pg_try_advisory_xact_lock(hashtextextended(%(queue)s || ' ' || group_id, 8027)) FROM candidates
"""
# A statement after that of the locks: it sees what the last holder of a group's lock has deleted.
TAKE_GROUPS = f"""
SELECT {NAMES}, ready FROM unnest(%(groups)s::text[]) AS locked CROSS JOIN LATERAL (
  SELECT {COLUMNS}, coalesce(retry, due) <= now() AS ready FROM {{table}}
  WHERE queue = %(queue)s AND fifo AND failed IS NULL AND group_id = locked
  ORDER BY id LIMIT %(each)s FOR UPDATE) AS taken
ORDER BY id
"""  # noqa: S608
# A row whose payload goes to S3. Its group is locked too, or the statement before would wait for the row.
TAKE_LARGE = """
SELECT body, attributes::text, extract(epoch FROM due)::text FROM {table}
WHERE id = %(id)s AND failed IS NULL
  AND (NOT fifo OR pg_try_advisory_xact_lock(hashtextextended(queue || ' ' || group_id, 8027)))
FOR UPDATE SKIP LOCKED
"""
POINT = "UPDATE {table} SET body = %(body)s, attributes = %(attributes)s::jsonb WHERE id = %(id)s"
DELETE = "DELETE FROM {table} WHERE id = ANY(%(ids)s)"
PUT_BACK = """
UPDATE {table} SET attempts = attempts + 1, error = %(error)s, retry = now() + %(pause)s * interval '1 second'
WHERE id = ANY(%(ids)s)
"""
BRING_BACK = """
UPDATE {table} SET retry = now(), attempts = 0, failed = NULL
WHERE failed IS NOT NULL AND (%(queue)s::text IS NULL OR queue = %(queue)s)
"""
TROUBLE = """
SELECT id, queue, group_id, attempts, extract(epoch FROM now() - due)::float8, failed IS NOT NULL, error FROM {table}
WHERE failed IS NOT NULL OR (retry IS NOT NULL AND failed IS NULL) ORDER BY failed IS NULL, id LIMIT %(most)s
"""
SET_ASIDE = """
UPDATE {table} SET attempts = attempts + 1, error = %(error)s, failed = now() WHERE id = ANY(%(ids)s)
"""
COUNTED = 100_000
"""Rows of a queue that are counted at most: a count of millions would take seconds."""
STATISTICS = f"""
SELECT queue, waiting + again, scheduled, failed, extract(epoch FROM now() - least(oldest, oldest_again))::float8
FROM unnest(%(queues)s::text[]) AS queue
CROSS JOIN LATERAL (SELECT count(*) AS waiting, min(due) AS oldest FROM (
  SELECT due FROM {{table}} AS t WHERE t.queue = queue.queue AND retry IS NULL AND failed IS NULL AND due <= now()
  ORDER BY due LIMIT {COUNTED}) AS rows) AS fresh
CROSS JOIN LATERAL (SELECT count(*) AS again, min(due) AS oldest_again FROM (
  SELECT due FROM {{table}} AS t WHERE t.queue = queue.queue AND retry IS NOT NULL AND failed IS NULL
  LIMIT {COUNTED}) AS rows) AS tried
CROSS JOIN LATERAL (SELECT count(*) AS scheduled FROM (
  SELECT FROM {{table}} AS t WHERE t.queue = queue.queue AND retry IS NULL AND failed IS NULL AND due > now()
  LIMIT {COUNTED}) AS rows) AS later
CROSS JOIN LATERAL (SELECT count(*) AS failed FROM (
  SELECT FROM {{table}} AS t WHERE t.queue = queue.queue AND failed IS NOT NULL LIMIT {COUNTED}) AS rows) AS aside
ORDER BY queue
"""  # noqa: S608
