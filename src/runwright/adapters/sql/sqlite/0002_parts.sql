-- Runs that are parts of other runs, and variables that come to an end.

ALTER TABLE runs ADD COLUMN parent_task TEXT NOT NULL DEFAULT '';

CREATE INDEX runs_by_parent ON runs (parent_id) WHERE parent_id <> '';

-- As before, but a variable without a value is taken out.
DROP TRIGGER batch_is_written;

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

  DELETE FROM variables
  WHERE run = NEW.run
    AND name IN (SELECT value ->> 'name' FROM jsonb_each(NEW.variables) WHERE value ->> 'value' IS NULL);

  INSERT INTO variables (run, name, value, set_by, set_at)
  SELECT NEW.run, value ->> 'name', value ->> 'value', value ->> 'set_by', value ->> 'set_at'
  FROM jsonb_each(NEW.variables)
  WHERE value ->> 'value' IS NOT NULL
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
