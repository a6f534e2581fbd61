-- Runs and everything recorded about them.
-- Instants are text in UTC; those of `runs` have one width, so that they compare as instants do.

CREATE TABLE definitions (
  digest  TEXT PRIMARY KEY,
  content BLOB NOT NULL,
  source  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  key                 INTEGER PRIMARY KEY,
  id                  TEXT NOT NULL UNIQUE,
  name                TEXT NOT NULL,
  kind                TEXT NOT NULL,
  state               TEXT NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
  reason              TEXT NOT NULL,
  definition          TEXT NOT NULL,
  path                TEXT NOT NULL,
  tags                TEXT NOT NULL CHECK (json_valid(tags)),
  strategy            TEXT NOT NULL,
  workers             INTEGER NOT NULL,
  options             TEXT NOT NULL CHECK (json_valid(options)),
  parent_id           TEXT NOT NULL,
  created_at          TEXT NOT NULL,
  started_at          TEXT,
  ended_at            TEXT,
  resume_count        INTEGER NOT NULL,
  -- Ordinary tasks by state, kept up to date so that a listing need not count.
  pending             INTEGER NOT NULL DEFAULT 0,
  running             INTEGER NOT NULL DEFAULT 0,
  succeeded           INTEGER NOT NULL DEFAULT 0,
  failed              INTEGER NOT NULL DEFAULT 0,
  skipped             INTEGER NOT NULL DEFAULT 0,
  cancelled           INTEGER NOT NULL DEFAULT 0,
  -- The lease: the token grows by one at each take; no owner means released.
  token               INTEGER NOT NULL,
  owner               TEXT CHECK (owner IS NULL OR json_valid(owner)),
  lease_expires_at    TEXT,
  cancel_requested_at TEXT,
  cancel_reason       TEXT NOT NULL DEFAULT '',
  -- The end of the hash chain, so that the removal of the last events is noticed too.
  head_seq            INTEGER NOT NULL,
  head_hash           BLOB NOT NULL
) STRICT;

CREATE INDEX runs_by_creation ON runs (created_at);

CREATE TABLE tasks (
  run        INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  id         TEXT NOT NULL,
  position   INTEGER NOT NULL,
  key        TEXT NOT NULL,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,
  level      INTEGER NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled')),
  reason     TEXT NOT NULL,
  attempts   INTEGER NOT NULL,
  started_at TEXT,
  ended_at   TEXT,
  failure    TEXT,
  value      TEXT,
  ignored    INTEGER NOT NULL,
  PRIMARY KEY (run, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
  run        INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  task_id    TEXT NOT NULL,
  number     INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  state      TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at   TEXT,
  failure    TEXT,
  PRIMARY KEY (run, task_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE variables (
  run    INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  name   TEXT NOT NULL,
  value  TEXT NOT NULL,
  set_by TEXT NOT NULL,
  set_at TEXT NOT NULL,
  PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

-- The log. `body` is the canonical JSON that `hash` covers; the other columns only show parts of it.
CREATE TABLE events (
  run     INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  seq     INTEGER NOT NULL,
  body    TEXT NOT NULL,
  hash    BLOB NOT NULL,
  kind    TEXT GENERATED ALWAYS AS (body ->> 'kind') VIRTUAL,
  at      TEXT GENERATED ALWAYS AS (body ->> 'at') VIRTUAL,
  task_id TEXT GENERATED ALWAYS AS (body ->> 'task_id') VIRTUAL,
  attempt INTEGER GENERATED ALWAYS AS (body ->> 'attempt') VIRTUAL,
  PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN
  SELECT RAISE(ABORT, 'the event log is append-only');
END;

-- One batch of events of one run and what it does to the rows. It is written by inserting into this view, because
-- then a whole batch is one statement: the writer shares an interpreter lock with a busy engine, and would otherwise
-- wait for it once per statement.
CREATE VIEW batch AS
SELECT
  NULL AS run, NULL AS token, NULL AS head_seq, NULL AS head_hash,
  NULL AS bodies, NULL AS hashes, NULL AS tasks, NULL AS moved, NULL AS counts, NULL AS reserved, NULL AS withdrawn,
  NULL AS attempts, NULL AS variables,
  NULL AS state, NULL AS reason, NULL AS started_at, NULL AS ended_at, NULL AS resumed_at, NULL AS interrupted,
  NULL AS cancel_at, NULL AS cancel_reason,
  NULL AS resume_count, NULL AS definition, NULL AS strategy, NULL AS workers,
  NULL AS new_head_seq, NULL AS new_head_hash;

CREATE TRIGGER batch_is_written INSTEAD OF INSERT ON batch
BEGIN
  SELECT RAISE(ABORT, 'stale lease')
  WHERE NOT EXISTS (
    SELECT 1 FROM runs
    WHERE key = NEW.run AND token = NEW.token AND owner IS NOT NULL
      AND head_seq = NEW.head_seq AND head_hash = NEW.head_hash
  );

  INSERT INTO events (run, seq, body, hash)
  SELECT NEW.run, NEW.head_seq + 1 + body.key, body.value, substr(NEW.hashes, 1 + 32 * body.key, 32)
  FROM json_each(NEW.bodies) AS body;

  -- A resume closes the attempts that a dead engine left open.
  UPDATE attempts SET state = 'cancelled', ended_at = NEW.resumed_at, failure = NEW.interrupted
  WHERE run = iif(NEW.resumed_at IS NULL, NULL, NEW.run) AND state IN ('pending', 'running');

  -- Every move of an ordinary task from one state to another moves one count.
  UPDATE runs SET
    pending   = runs.pending   + (NEW.counts ->> 0) - old.pending,
    running   = runs.running   + (NEW.counts ->> 1) - old.running,
    succeeded = runs.succeeded + (NEW.counts ->> 2) - old.succeeded,
    failed    = runs.failed    + (NEW.counts ->> 3) - old.failed,
    skipped   = runs.skipped   + (NEW.counts ->> 4) - old.skipped,
    cancelled = runs.cancelled + (NEW.counts ->> 5) - old.cancelled
  FROM (
    SELECT
      count(*) FILTER (WHERE state = 'pending')   AS pending,
      count(*) FILTER (WHERE state = 'running')   AS running,
      count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
      count(*) FILTER (WHERE state = 'failed')    AS failed,
      count(*) FILTER (WHERE state = 'skipped')   AS skipped,
      count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM json_each(NEW.moved) AS moved CROSS JOIN tasks ON tasks.run = NEW.run AND tasks.id = moved.value
  ) AS old
  WHERE runs.key = NEW.run;

  -- What was reserved and never began is taken back.
  UPDATE tasks SET attempts = attempts - (
    SELECT count(*) FROM attempts AS open
    WHERE open.run = NEW.run AND open.task_id = tasks.id AND open.state = 'pending'
  )
  WHERE run = NEW.run AND id IN (SELECT value FROM json_each(NEW.withdrawn));

  DELETE FROM attempts
  WHERE run = NEW.run AND state = 'pending' AND task_id IN (SELECT value FROM json_each(NEW.withdrawn));

  -- What was only reserved leaves the rest of the row as it is.
  -- (An upsert, since an UPDATE with a FROM would look through all tasks of the run for each of them.)
  INSERT INTO tasks (run, id, key, name, role, position, level, state, reason, attempts, ignored)
  SELECT known.run, known.id, '', '', '', 0, 0, known.state, '', change.value ->> 6, 0
  FROM jsonb_each(NEW.reserved) AS change
  CROSS JOIN tasks AS known ON known.run = NEW.run AND known.id = change.value ->> 0
  WHERE true
  ON CONFLICT (run, id) DO UPDATE SET attempts = max(tasks.attempts, excluded.attempts);

  INSERT INTO tasks (run, id, key, name, role, position, level, state, reason, attempts, started_at, ended_at,
                     failure, value, ignored)
  SELECT
    NEW.run, value ->> 0, value ->> 1, value ->> 0, value ->> 2, value ->> 3, -1, value ->> 4,
    value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, nullif(value -> 10, 'null'), value ->> 11
  FROM jsonb_each(NEW.tasks)
  WHERE true
  ON CONFLICT (run, id) DO UPDATE SET
    state      = excluded.state,
    reason     = excluded.reason,
    attempts   = max(tasks.attempts, excluded.attempts),
    started_at = CASE
      WHEN tasks.state = 'running' THEN coalesce(tasks.started_at, excluded.started_at)
      ELSE coalesce(excluded.started_at, tasks.started_at)
    END,
    ended_at   = excluded.ended_at,
    failure    = excluded.failure,
    value      = excluded.value,
    ignored    = excluded.ignored;

  INSERT INTO attempts (run, task_id, number, seq, state, started_at, ended_at, failure)
  SELECT NEW.run, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
  FROM jsonb_each(NEW.attempts)
  WHERE true
  ON CONFLICT (run, task_id, number) DO UPDATE SET
    state      = excluded.state,
    started_at = CASE attempts.state WHEN 'pending' THEN excluded.started_at ELSE attempts.started_at END,
    ended_at   = excluded.ended_at,
    failure    = excluded.failure
  WHERE excluded.state <> 'pending';

  INSERT INTO variables (run, name, value, set_by, set_at)
  SELECT NEW.run, value ->> 'name', value ->> 'value', value ->> 'set_by', value ->> 'set_at'
  FROM jsonb_each(NEW.variables)
  WHERE true
  ON CONFLICT (run, name) DO UPDATE SET
    value = excluded.value, set_by = excluded.set_by, set_at = excluded.set_at;

  UPDATE runs SET
    head_seq            = NEW.new_head_seq,
    head_hash           = NEW.new_head_hash,
    state               = coalesce(NEW.state, state),
    reason              = iif(NEW.state IS NULL, reason, NEW.reason),
    started_at          = coalesce(started_at, NEW.started_at),
    ended_at            = iif(NEW.state IS NULL, ended_at, NEW.ended_at),
    cancel_reason       = CASE
      WHEN NEW.state IS NULL AND cancel_requested_at IS NOT NULL THEN cancel_reason
      ELSE coalesce(NEW.cancel_reason, '')
    END,
    cancel_requested_at = iif(NEW.state IS NULL, coalesce(cancel_requested_at, NEW.cancel_at), NEW.cancel_at),
    resume_count        = coalesce(NEW.resume_count, resume_count),
    definition          = coalesce(NEW.definition, definition),
    strategy            = coalesce(NEW.strategy, strategy),
    workers             = coalesce(NEW.workers, workers)
  WHERE key = NEW.run;
END;
