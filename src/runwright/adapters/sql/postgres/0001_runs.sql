-- Runs and everything recorded about them.
-- Texts that people and programs make up as they go (reasons, failures, values) are JSON, which is never taken apart
-- here: a text of PostgreSQL can't hold a NUL, and what is stored must be what was said. Ids and names compare by their bytes, in every database.

CREATE TABLE definitions (
  digest  TEXT COLLATE "C" PRIMARY KEY,
  content BYTEA NOT NULL,
  source  TEXT NOT NULL
);

CREATE TABLE runs (
  key                 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id                  TEXT COLLATE "C" NOT NULL UNIQUE,
  name                TEXT COLLATE "C" NOT NULL,
  kind                TEXT NOT NULL,
  state               TEXT NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
  reason              JSON NOT NULL,
  definition          TEXT NOT NULL,
  path                TEXT NOT NULL,
  tags                JSON NOT NULL,
  strategy            TEXT NOT NULL,
  workers             INTEGER NOT NULL,
  options             JSON NOT NULL,
  parent_id           TEXT COLLATE "C" NOT NULL,
  parent_task         TEXT NOT NULL,
  created_at          TIMESTAMPTZ NOT NULL,
  started_at          TIMESTAMPTZ,
  ended_at            TIMESTAMPTZ,
  resume_count        INTEGER NOT NULL,
  -- Ordinary tasks by state, kept up to date so that a listing need not count.
  pending             INTEGER NOT NULL DEFAULT 0,
  running             INTEGER NOT NULL DEFAULT 0,
  succeeded           INTEGER NOT NULL DEFAULT 0,
  failed              INTEGER NOT NULL DEFAULT 0,
  skipped             INTEGER NOT NULL DEFAULT 0,
  cancelled           INTEGER NOT NULL DEFAULT 0,
  -- The lease: the token grows by one at each take; no owner means released.
  token               BIGINT NOT NULL,
  owner               JSON,
  lease_expires_at    TIMESTAMPTZ,
  cancel_requested_at TIMESTAMPTZ,
  cancel_reason       JSON NOT NULL DEFAULT '""',
  -- The end of the hash chain, so that the removal of the last events is noticed too.
  head_seq            BIGINT NOT NULL,
  head_hash           BYTEA NOT NULL
) WITH (fillfactor = 70);  -- this row changes with every batch; room beside it keeps the indexes out of that

CREATE INDEX runs_by_creation ON runs (created_at);
CREATE INDEX runs_by_parent ON runs (parent_id) WHERE parent_id <> '';

CREATE TABLE tasks (
  run        BIGINT NOT NULL REFERENCES runs ON DELETE CASCADE,
  id         TEXT COLLATE "C" NOT NULL,
  position   BIGINT NOT NULL,
  key        TEXT NOT NULL,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,
  level      INTEGER NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled')),
  reason     JSON NOT NULL,
  attempts   INTEGER NOT NULL,
  started_at TIMESTAMPTZ,
  ended_at   TIMESTAMPTZ,
  failure    JSON,
  value      JSON,
  ignored    BOOLEAN NOT NULL,
  PRIMARY KEY (run, id)
) WITH (fillfactor = 70);

CREATE TABLE attempts (
  run        BIGINT NOT NULL REFERENCES runs ON DELETE CASCADE,
  task_id    TEXT COLLATE "C" NOT NULL,
  number     INTEGER NOT NULL,
  seq        BIGINT NOT NULL,
  state      TEXT NOT NULL,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at   TIMESTAMPTZ,
  failure    JSON,
  PRIMARY KEY (run, task_id, number)
) WITH (fillfactor = 70);

CREATE TABLE variables (
  run    BIGINT NOT NULL REFERENCES runs ON DELETE CASCADE,
  name   TEXT COLLATE "C" NOT NULL,
  value  JSON NOT NULL,
  set_by TEXT NOT NULL,
  set_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (run, name)
);

-- The log. `body` is the canonical JSON that `hash` covers; this type keeps its text as it was given.
CREATE TABLE events (
  run  BIGINT NOT NULL REFERENCES runs ON DELETE CASCADE,
  seq  BIGINT NOT NULL,
  body JSON NOT NULL,
  hash BYTEA NOT NULL,
  PRIMARY KEY (run, seq)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the event log is append-only';
END
$$;

CREATE TRIGGER events_never_change BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Writes one batch of events of one run and what it does to the rows: a function, because then a whole batch is one
-- message to the server and one back, and one transaction by itself. The lock on the run's row makes batches of one
-- run follow each other; who finds the row changed has a stale lease, or a wrong idea of the log's end.
CREATE FUNCTION write_batch(
  the_run BIGINT, the_token BIGINT, the_head_seq BIGINT, the_head_hash BYTEA, the_bodies JSON, the_hashes BYTEA,
  the_tasks JSON, the_moved JSON, the_counts JSON, the_reserved JSON, the_withdrawn JSON, the_attempts JSON,
  the_variables JSON, the_state TEXT, the_reason JSON, the_started_at TIMESTAMPTZ, the_ended_at TIMESTAMPTZ,
  the_resumed_at TIMESTAMPTZ, the_interrupted JSON, the_cancel_at TIMESTAMPTZ, the_cancel_reason JSON,
  the_resume_count INTEGER, the_definition TEXT, the_strategy TEXT, the_workers INTEGER, the_new_head_seq BIGINT,
  the_new_head_hash BYTEA
) RETURNS BIGINT LANGUAGE plpgsql
-- Each change is of a few rows that the key names, however many the tables hold and whether or not they were counted.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  former RECORD;
BEGIN
  PERFORM 1 FROM runs
  WHERE key = the_run AND token = the_token AND owner IS NOT NULL
    AND head_seq = the_head_seq AND head_hash = the_head_hash
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'stale lease' USING ERRCODE = 'RW001';
  END IF;

  INSERT INTO events (run, seq, body, hash)
  SELECT the_run, the_head_seq + place, body::json, substr(the_hashes, 32 * place::integer - 31, 32)
  FROM json_array_elements_text(the_bodies) WITH ORDINALITY AS given (body, place);

  -- A resume closes the attempts that a dead engine left open.
  IF the_resumed_at IS NOT NULL THEN
    UPDATE attempts SET state = 'cancelled', ended_at = the_resumed_at, failure = the_interrupted
    WHERE run = the_run AND state IN ('pending', 'running');
  END IF;

  -- Every move of an ordinary task from one state to another moves one count.
  SELECT
    count(*) FILTER (WHERE state = 'pending')   AS pending,
    count(*) FILTER (WHERE state = 'running')   AS running,
    count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE state = 'failed')    AS failed,
    count(*) FILTER (WHERE state = 'skipped')   AS skipped,
    count(*) FILTER (WHERE state = 'cancelled') AS cancelled
  INTO former
  FROM json_array_elements_text(the_moved) AS moved JOIN tasks ON run = the_run AND id = moved;

  -- What was reserved and never began is taken back.
  IF json_array_length(the_withdrawn) > 0 THEN
    UPDATE tasks SET attempts = tasks.attempts - (
      SELECT count(*) FROM attempts AS open
      WHERE open.run = the_run AND open.task_id = tasks.id AND open.state = 'pending'
    )
    FROM json_array_elements_text(the_withdrawn) AS withdrawn
    WHERE run = the_run AND id = withdrawn;

    DELETE FROM attempts USING json_array_elements_text(the_withdrawn) AS withdrawn
    WHERE run = the_run AND task_id = withdrawn AND state = 'pending';
  END IF;

  -- What was only reserved leaves the rest of the row as it is.
  IF json_array_length(the_reserved) > 0 THEN
    UPDATE tasks SET attempts = greatest(tasks.attempts, (change ->> 6)::integer)
    FROM json_array_elements(the_reserved) AS change
    WHERE run = the_run AND id = change ->> 0;
  END IF;

  INSERT INTO tasks (run, id, key, name, role, position, level, state, reason, attempts, started_at, ended_at,
                     failure, value, ignored)
  SELECT
    the_run, change ->> 0, change ->> 1, change ->> 0, change ->> 2,
    (change ->> 3)::bigint, -1, change ->> 4, (change ->> 5)::json, (change ->> 6)::integer,
    (change ->> 7)::timestamptz, (change ->> 8)::timestamptz, (change ->> 9)::json,
    (change ->> 10)::json, (change ->> 11)::boolean
  FROM json_array_elements(the_tasks) AS change
  ON CONFLICT (run, id) DO UPDATE SET
    state      = excluded.state,
    reason     = excluded.reason,
    attempts   = greatest(tasks.attempts, excluded.attempts),
    started_at = CASE
      WHEN tasks.state = 'running' THEN coalesce(tasks.started_at, excluded.started_at)
      ELSE coalesce(excluded.started_at, tasks.started_at)
    END,
    ended_at   = excluded.ended_at,
    failure    = excluded.failure,
    value      = excluded.value,
    ignored    = excluded.ignored;

  INSERT INTO attempts (run, task_id, number, seq, state, started_at, ended_at, failure)
  SELECT
    the_run, change ->> 0, (change ->> 1)::integer, (change ->> 2)::bigint, change ->> 3,
    (change ->> 4)::timestamptz, (change ->> 5)::timestamptz, (change ->> 6)::json
  FROM json_array_elements(the_attempts) AS change
  ON CONFLICT (run, task_id, number) DO UPDATE SET
    state      = excluded.state,
    started_at = CASE attempts.state WHEN 'pending' THEN excluded.started_at ELSE attempts.started_at END,
    ended_at   = excluded.ended_at,
    failure    = excluded.failure
  WHERE excluded.state <> 'pending';

  -- A variable without a value is taken out.
  IF json_array_length(the_variables) > 0 THEN
    DELETE FROM variables USING json_array_elements(the_variables) AS change
    WHERE run = the_run AND name = change ->> 'name' AND change -> 'value' IS NULL;

    INSERT INTO variables (run, name, value, set_by, set_at)
    SELECT the_run, change ->> 'name', (change ->> 'value')::json, change ->> 'set_by',
           (change ->> 'set_at')::timestamptz
    FROM json_array_elements(the_variables) AS change
    WHERE change -> 'value' IS NOT NULL
    ON CONFLICT (run, name) DO UPDATE SET
      value = excluded.value, set_by = excluded.set_by, set_at = excluded.set_at;
  END IF;

  UPDATE runs SET
    pending             = pending   + (the_counts ->> 0)::integer - former.pending,
    running             = running   + (the_counts ->> 1)::integer - former.running,
    succeeded           = succeeded + (the_counts ->> 2)::integer - former.succeeded,
    failed              = failed    + (the_counts ->> 3)::integer - former.failed,
    skipped             = skipped   + (the_counts ->> 4)::integer - former.skipped,
    cancelled           = cancelled + (the_counts ->> 5)::integer - former.cancelled,
    head_seq            = the_new_head_seq,
    head_hash           = the_new_head_hash,
    state               = coalesce(the_state, state),
    reason              = CASE WHEN the_state IS NULL THEN reason ELSE the_reason END,
    started_at          = coalesce(started_at, the_started_at),
    ended_at            = CASE WHEN the_state IS NULL THEN ended_at ELSE the_ended_at END,
    cancel_reason       = CASE
      WHEN the_state IS NULL AND cancel_requested_at IS NOT NULL THEN cancel_reason
      ELSE the_cancel_reason
    END,
    cancel_requested_at = CASE
      WHEN the_state IS NULL THEN coalesce(cancel_requested_at, the_cancel_at) ELSE the_cancel_at
    END,
    resume_count        = coalesce(the_resume_count, resume_count),
    definition          = coalesce(the_definition, definition),
    strategy            = coalesce(the_strategy, strategy),
    workers             = coalesce(the_workers, workers)
  WHERE key = the_run;
  RETURN the_new_head_seq;
END
$$;
