-- What happens to jobs in the database itself; `core/job_rows.py` has the decisions in words, and tests compare the two.

CREATE FUNCTION job_state_after(_verdict TEXT, _failures INTEGER, _max_attempts INTEGER, _is_canceled BOOLEAN)
RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN _verdict = 'completed' THEN 'completed'
    WHEN _is_canceled THEN 'canceled'
    WHEN _verdict = 'handed_back' THEN 'queued'
    WHEN _verdict = 'errored' AND _failures + 1 < _max_attempts THEN 'errored'
    ELSE 'failed'
  END
$$;

CREATE FUNCTION job_message_after(_state TEXT, _said JSON, _cancel_reason JSON)
RETURNS JSON LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN _state = 'canceled' THEN _cancel_reason WHEN _state IN ('errored', 'failed') THEN _said ELSE '""' END
$$;

CREATE FUNCTION job_state_after_lapse(_resets INTEGER, _max_resets INTEGER, _is_canceled BOOLEAN)
RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN _is_canceled THEN 'canceled' WHEN _resets < _max_resets THEN 'queued' ELSE 'failed' END
$$;

CREATE FUNCTION job_lapse_text(_worker TEXT, _resets INTEGER) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
  SELECT format(
    'its worker was lost %s, the last time %s; raise the queue''s max_resets to allow more',
    CASE WHEN _resets = 0 THEN 'once' ELSE format('%s times', _resets + 1) END, _worker
  )
$$;

CREATE FUNCTION job_retry_delay(_failures INTEGER, _retry_delay DOUBLE PRECISION)
RETURNS INTERVAL LANGUAGE sql IMMUTABLE AS $$
  SELECT make_interval(secs => least(_retry_delay * power(2, least(_failures - 1, 40)), 3600))
$$;

CREATE FUNCTION digest_of_labels(_labels TEXT[]) RETURNS UUID LANGUAGE sql IMMUTABLE AS $$
  SELECT md5(array_to_string(_labels, E'\n'))::UUID
$$;

-- What each exchange calls is PL/pgSQL, which keeps its plans; SQL that can't be inlined is planned anew at each call.

-- Wakes those who wait for jobs of these queues, once this is committed.
CREATE FUNCTION announce_jobs(_queues TEXT[]) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_notify('runwright_jobs', CASE WHEN length(queue) <= 1000 THEN queue ELSE '' END)
  FROM (SELECT DISTINCT unnest(_queues) AS queue) AS announced;
END
$$;

-- The turn of a job that comes to wait: behind the jobs of its key, and not before those whose turn it is now.
CREATE FUNCTION next_turn(_queue TEXT, _priority INTEGER, _key TEXT) RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _last   BIGINT;
  _now_on BIGINT;
  _digest UUID;
  _turn   BIGINT;
BEGIN
  SELECT turn INTO _last FROM jobs
  WHERE queue = _queue AND key = _key AND priority = _priority AND ready IS NOT NULL
  ORDER BY queue DESC, key DESC, priority ASC, turn DESC, id DESC LIMIT 1;

  SELECT labels_digest INTO _digest FROM jobs
  WHERE ready AND queue = _queue ORDER BY queue, labels_digest LIMIT 1;
  WHILE _digest IS NOT NULL LOOP  -- from one set of labels to the next by the index, past all jobs that have the same
    SELECT turn INTO _turn FROM jobs
    WHERE ready AND queue = _queue AND labels_digest = _digest AND priority = _priority
    ORDER BY queue, labels_digest, priority DESC, turn, id LIMIT 1;
    _now_on := least(_now_on, _turn);
    SELECT labels_digest INTO _digest FROM jobs
    WHERE ready AND queue = _queue AND labels_digest > _digest ORDER BY queue, labels_digest LIMIT 1;
  END LOOP;
  RETURN greatest(coalesce(_last + 1, 0), coalesce(_now_on, 0));
END
$$;

CREATE FUNCTION submit_jobs(_batch UUID, _asked JSONB, _payloads BYTEA[])
RETURNS BIGINT[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _ids BIGINT[];
BEGIN
  SELECT jobs INTO _ids FROM job_batches WHERE id = _batch;
  IF FOUND THEN
    RETURN _ids;
  END IF;

  WITH asked AS (
    SELECT
      asked.*,
      (idempotency_key = '' OR row_number() OVER (PARTITION BY idempotency_key ORDER BY place) = 1)
      AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE jobs.idempotency_key = asked.idempotency_key AND jobs.idempotency_key <> ''
      ) AS is_new
    FROM ROWS FROM (jsonb_to_recordset(_asked) AS (
      queue TEXT, sealed BOOLEAN, priority INTEGER, labels TEXT[], key TEXT, delay DOUBLE PRECISION,
      max_attempts INTEGER, retry_delay DOUBLE PRECISION, idempotency_key TEXT, queued_at TIMESTAMPTZ
    )) WITH ORDINALITY AS asked (
      queue, sealed, priority, labels, key, delay, max_attempts, retry_delay, idempotency_key, queued_at, place
    )
  ), counted AS (
    SELECT
      asked.*,
      row_number() OVER (PARTITION BY queue, priority, key ORDER BY place) AS of_key,
      count(*) FILTER (WHERE is_new) OVER (PARTITION BY queue, priority, key ORDER BY place) - 1 AS behind
    FROM asked
  ), placed AS (
    SELECT
      counted.*,
      max(CASE WHEN of_key = 1 THEN next_turn(queue, priority, key) END) OVER (PARTITION BY queue, priority, key)
        + behind AS turn
    FROM counted ORDER BY place
  ), numbered AS MATERIALIZED (
    SELECT placed.*, CASE WHEN is_new THEN nextval('job_ids') END AS id FROM placed
  ), made AS (
    INSERT INTO jobs (id, queue, state, ready, priority, turn, labels, labels_digest, key, max_attempts, retry_delay,
                      queued_at, available_at, sealed, idempotency_key, payload)
    SELECT
      id, queue, 'queued', delay <= 0, priority, turn, labels, digest_of_labels(labels), key, max_attempts, retry_delay,
      queued_at, queued_at + make_interval(secs => delay), sealed, idempotency_key, _payloads[place]
    FROM numbered WHERE id IS NOT NULL
    ON CONFLICT (idempotency_key) WHERE idempotency_key <> '' DO NOTHING
    RETURNING queue, ready
  ), told AS (
    SELECT announce_jobs(array_agg(queue)) FROM made WHERE ready
  )
  SELECT array_agg(id ORDER BY place) INTO _ids FROM numbered LEFT JOIN told ON true;

  -- What has a key may have been there, or have come from elsewhere just now: this statement sees it.
  SELECT array_agg(coalesce(known.id, _ids[place]) ORDER BY place) INTO _ids
  FROM jsonb_array_elements(_asked) WITH ORDINALITY AS asked (job, place)
  LEFT JOIN jobs AS known
    ON known.idempotency_key = asked.job ->> 'idempotency_key' AND known.idempotency_key <> '';

  INSERT INTO job_batches (id, jobs) VALUES (_batch, _ids);
  RETURN _ids;
END
$$;

-- Ends attempts that completed their jobs and say no more, as most do; returns the places of those that were held.
CREATE FUNCTION complete_attempts(_jobs BIGINT[], _attempts INTEGER[], _now TIMESTAMPTZ)
RETURNS BIGINT[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _queues   TEXT[];
  _accepted BIGINT[];
BEGIN
  WITH ended AS (
    UPDATE jobs SET state = 'completed', finished_at = _now, lease_until = NULL
    FROM (
      SELECT job, attempt, min(place) AS place
      FROM unnest(_jobs, _attempts) WITH ORDINALITY AS said (job, attempt, place) GROUP BY job, attempt
    ) AS said
    WHERE jobs.id = said.job AND jobs.attempt = said.attempt AND jobs.state = 'processing'
    RETURNING jobs.queue, said.place
  )
  SELECT array_agg(place), array_agg(DISTINCT queue) INTO _accepted, _queues FROM ended;

  PERFORM announce_jobs(array_agg(name)) FROM job_queues
  WHERE name = ANY (_queues) AND (most > 0 OR most_a_key > 0) HAVING count(*) > 0;
  RETURN _accepted;
END
$$;

-- Returns for each last word what became of it. The same may stand there twice.
CREATE FUNCTION end_attempts(
  _jobs BIGINT[], _attempts INTEGER[], _verdicts TEXT[], _messages TEXT[], _now TIMESTAMPTZ
) RETURNS TEXT[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _accepted BIGINT[];
BEGIN
  IF 'completed' = ALL (_verdicts) AND '""' = ALL (_messages) THEN
    _accepted := complete_attempts(_jobs, _attempts, _now);
  ELSE
    WITH said AS MATERIALIZED (
      SELECT DISTINCT ON (job, attempt) job, attempt, verdict, message::JSON AS message, place
      FROM unnest(_jobs, _attempts, _verdicts, _messages)
        WITH ORDINALITY AS said (job, attempt, verdict, message, place)
      ORDER BY job, attempt, place
    ), ended AS (
      UPDATE jobs SET
        (state, ready, turn, failures, available_at, finished_at, message) = (
          SELECT
            next.state,
            CASE next.state WHEN 'queued' THEN true WHEN 'errored' THEN false END,
            CASE WHEN next.state IN ('queued', 'errored') THEN next_turn(queue, priority, key) ELSE turn END,
            failures + (next.state IN ('errored', 'failed'))::INTEGER,
            CASE next.state
              WHEN 'queued' THEN _now
              WHEN 'errored' THEN _now + job_retry_delay(failures + 1, retry_delay)
              ELSE available_at
            END,
            CASE WHEN next.state <> 'queued' THEN _now END,
            job_message_after(next.state, said.message, cancel_reason)
          FROM (
            SELECT job_state_after(said.verdict, failures, max_attempts, cancel_reason::TEXT <> '""') AS state
          ) AS next
        ),
        lease_until = NULL,
        digest = CASE WHEN said.verdict = 'completed' AND said.message::TEXT = '""' THEN digest END
      FROM said
      WHERE jobs.id = said.job AND jobs.attempt = said.attempt AND jobs.state = 'processing'
      RETURNING jobs.id, jobs.queue, jobs.state, jobs.digest, said.verdict, said.message, said.place
    ), closed AS (
      INSERT INTO job_attempts (job, number, worker, digest, started_at, ended_at, verdict, outcome, message)
      SELECT
        before.id, before.attempt, before.worker, before.digest, before.started_at, _now, ended.verdict,
        CASE WHEN ended.state = 'canceled' THEN 'canceled' ELSE ended.verdict END, ended.message
      FROM ended JOIN jobs AS before ON before.id = ended.id  -- as it was when this statement began
      WHERE ended.digest IS NULL
    ), told AS (
      SELECT announce_jobs(array_agg(queue)) FROM ended
      WHERE state = 'queued' OR queue IN (SELECT name FROM job_queues WHERE most > 0 OR most_a_key > 0)
      HAVING count(*) > 0
    )
    SELECT array_agg(place) INTO _accepted FROM ended LEFT JOIN told ON true;
  END IF;

  IF cardinality(_accepted) = cardinality(_jobs) THEN
    RETURN array_fill('accepted'::TEXT, ARRAY[cardinality(_jobs)]);
  END IF;
  RETURN ARRAY (
    SELECT CASE
      WHEN place = ANY (_accepted) THEN 'accepted'
      WHEN said.verdict IN (known.verdict, done.state) THEN 'repeated'
      ELSE 'refused'
    END
    FROM unnest(_jobs, _attempts, _verdicts) WITH ORDINALITY AS said (job, attempt, verdict, place)
    LEFT JOIN job_attempts AS known ON known.job = said.job AND known.number = said.attempt
    LEFT JOIN jobs AS done
      ON done.id = said.job AND done.attempt = said.attempt AND done.state = 'completed' AND done.digest IS NOT NULL
    ORDER BY place
  );
END
$$;

-- Lets one at a time claim from queues with limits, since who counts leases must not miss those of another.
CREATE FUNCTION lock_limited_queues(_queues TEXT[]) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1919776114, number) FROM (
    SELECT DISTINCT hashtext(name) AS number FROM job_queues
    WHERE name = ANY (_queues) AND (most > 0 OR most_a_key > 0)
    ORDER BY number
  ) AS limited;
END
$$;

-- The first jobs of a queue that a worker with these labels may have, whether or not others are about to take them.
CREATE FUNCTION jobs_to_give(_queue TEXT, _labels TEXT[], _most INTEGER)
RETURNS TABLE (id BIGINT, key TEXT, priority INTEGER, turn BIGINT) LANGUAGE sql STABLE AS $$
  WITH RECURSIVE sets AS (  -- of labels, from one to the next by the index
    (
      SELECT jobs.labels, labels_digest FROM jobs
      WHERE ready AND queue = _queue ORDER BY queue, labels_digest LIMIT 1
    )
    UNION ALL
    SELECT after.labels, after.labels_digest
    FROM sets CROSS JOIN LATERAL (
      SELECT jobs.labels, labels_digest FROM jobs
      WHERE ready AND queue = _queue AND labels_digest > sets.labels_digest ORDER BY queue, labels_digest LIMIT 1
    ) AS after
  )
  SELECT found.id, found.key, found.priority, found.turn
  FROM sets CROSS JOIN LATERAL (
    SELECT jobs.id, jobs.key, jobs.priority, jobs.turn FROM jobs
    WHERE ready AND queue = _queue AND labels_digest = sets.labels_digest
    ORDER BY queue, labels_digest, priority DESC, turn, id LIMIT _most
  ) AS found
  WHERE sets.labels <@ _labels
  ORDER BY found.priority DESC, found.turn, found.id LIMIT _most
$$;

-- The same for a queue in which the first many jobs are of keys that have no room: some of each key that has.
CREATE FUNCTION jobs_of_keys(_queue TEXT, _labels TEXT[], _full TEXT[], _most INTEGER)
RETURNS TABLE (id BIGINT, key TEXT, priority INTEGER, turn BIGINT) LANGUAGE sql STABLE AS $$
  WITH RECURSIVE keys AS (
    (SELECT jobs.key FROM jobs WHERE ready IS NOT NULL AND queue = _queue ORDER BY queue, key LIMIT 1)
    UNION ALL
    SELECT (
      SELECT jobs.key FROM jobs
      WHERE ready IS NOT NULL AND queue = _queue AND jobs.key > keys.key ORDER BY queue, key LIMIT 1
    )
    FROM keys WHERE keys.key IS NOT NULL
  )
  SELECT found.id, keys.key, found.priority, found.turn
  FROM keys CROSS JOIN LATERAL (
    SELECT jobs.id, jobs.priority, jobs.turn FROM jobs
    WHERE ready AND queue = _queue AND jobs.key = keys.key AND labels <@ _labels
    ORDER BY queue, jobs.key, priority DESC, turn, id LIMIT _most
  ) AS found
  WHERE keys.key <> ALL (_full)
$$;

-- Locks the first jobs of a queue that may be given to a worker, and returns them in their order. Only a queue whose
-- keys are limited needs the second way round.
CREATE FUNCTION pick_jobs(_queue TEXT, _labels TEXT[], _most INTEGER)
RETURNS BIGINT[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _settings job_queues;
  _full     TEXT[] := '{}';
  _window   INTEGER := 2 * _most;
  _seen     BIGINT;
  _found    BIGINT[];
  _picked   BIGINT[];
BEGIN
  SELECT * INTO _settings FROM job_queues WHERE name = _queue;
  IF _settings.most > 0 THEN
    SELECT least(_most, _settings.most - count(*)) INTO _most FROM jobs
    WHERE state = 'processing' AND queue = _queue;
  END IF;
  IF _settings.paused OR _most <= 0 THEN
    RETURN '{}';
  END IF;

  IF _labels = '{}' AND coalesce(_settings.most_a_key, 0) = 0 THEN
    RETURN ARRAY (
      SELECT id FROM jobs WHERE ready AND queue = _queue AND labels_digest = digest_of_labels('{}')
      ORDER BY queue, labels_digest, priority DESC, turn, id LIMIT _most
      FOR NO KEY UPDATE SKIP LOCKED
    );
  END IF;

  IF _settings.most_a_key > 0 THEN
    SELECT coalesce(array_agg(key), '{}') INTO _full FROM (
      SELECT key FROM jobs WHERE state = 'processing' AND queue = _queue AND key <> ''
      GROUP BY key HAVING count(*) >= _settings.most_a_key
    ) AS held;
  END IF;
  LOOP
    IF _settings.most_a_key > 0 AND _window > 1024 THEN
      SELECT array_agg(id), 0 INTO _found, _seen FROM jobs_of_keys(_queue, _labels, _full, _most);
    ELSE
      SELECT array_agg(id), count(*) INTO _found, _seen FROM jobs_to_give(_queue, _labels, _window);
    END IF;
    IF _settings.most_a_key > 0 THEN
      _found := within_keys(_queue, _found, _settings.most_a_key);
    END IF;
    _picked := ARRAY (
      SELECT id FROM jobs WHERE id = ANY (_found) AND ready
      ORDER BY priority DESC, turn, id LIMIT _most
      FOR NO KEY UPDATE SKIP LOCKED
    );
    EXIT WHEN cardinality(_picked) = _most OR _seen < _window;
    _window := 8 * _window;
  END LOOP;
  RETURN _picked;
END
$$;

-- Of these jobs, the first of each key, as many as it has room for.
CREATE FUNCTION within_keys(_queue TEXT, _found BIGINT[], _most_a_key INTEGER)
RETURNS BIGINT[] LANGUAGE sql VOLATILE AS $$
  WITH held AS (
    SELECT key, count(*) AS jobs FROM jobs WHERE state = 'processing' AND queue = _queue GROUP BY key
  ), ranked AS (
    SELECT id, key, row_number() OVER (PARTITION BY key ORDER BY priority DESC, turn, id) AS rank
    FROM jobs WHERE id = ANY (_found)
  )
  SELECT array_agg(id) FROM ranked LEFT JOIN held USING (key)
  WHERE key = '' OR rank <= _most_a_key - coalesce(held.jobs, 0)
$$;

CREATE FUNCTION claim_jobs(
  _queues TEXT[], _labels TEXT[], _digests BYTEA[], _worker TEXT, _boot_id TEXT, _token_id BIGINT,
  _until TIMESTAMPTZ, _now TIMESTAMPTZ
) RETURNS TABLE (
  job BIGINT, queue TEXT, attempt INTEGER, payload BYTEA, sealed BOOLEAN, digest BYTEA, labels TEXT[]
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  _queue  TEXT;
  _picked BIGINT[];
BEGIN
  PERFORM lock_limited_queues(_queues);
  FOREACH _queue IN ARRAY _queues LOOP
    EXIT WHEN cardinality(_digests) = 0;
    _picked := pick_jobs(_queue, _labels, cardinality(_digests));
    RETURN QUERY
    WITH given AS (
      UPDATE jobs SET
        state = 'processing', ready = NULL, attempt = jobs.attempt + 1,
        started_at = greatest(_now, jobs.available_at), heartbeat_at = _now,
        finished_at = NULL, lease_until = _until, worker = _worker, boot_id = _boot_id, token_id = _token_id,
        message = '""', digest = picked.digest
      FROM unnest(_picked, _digests) WITH ORDINALITY AS picked (id, digest, place)
      WHERE jobs.id = picked.id
      RETURNING
        jobs.id, jobs.queue, jobs.attempt, jobs.payload, jobs.sealed, picked.digest, jobs.labels, picked.place
    )
    SELECT given.id, given.queue, given.attempt, given.payload, given.sealed, given.digest, given.labels
    FROM given ORDER BY given.place;
    _digests := _digests[cardinality(_picked) + 1 :];
  END LOOP;
END
$$;

-- What was given for these digests and is still held: the claim was made before, and its answer was lost.
CREATE FUNCTION claimed_before(_digests BYTEA[])
RETURNS TABLE (
  job BIGINT, queue TEXT, attempt INTEGER, payload BYTEA, sealed BOOLEAN, digest BYTEA, labels TEXT[]
)
LANGUAGE sql STABLE AS $$
  SELECT jobs.id, jobs.queue, jobs.attempt, jobs.payload, jobs.sealed, jobs.digest, jobs.labels
  FROM unnest(_digests) WITH ORDINALITY AS asked (digest, place)
  JOIN jobs ON jobs.digest = asked.digest AND jobs.state = 'processing'
  ORDER BY asked.place
$$;

-- The first row has what became of the last words, and each further one a job that is given to the worker.
CREATE FUNCTION exchange_jobs(
  _is_repeated BOOLEAN, _jobs BIGINT[], _attempts INTEGER[], _verdicts TEXT[], _messages TEXT[],
  _queues TEXT[], _labels TEXT[], _digests BYTEA[], _worker TEXT, _boot_id TEXT, _token_id BIGINT,
  _until TIMESTAMPTZ, _now TIMESTAMPTZ
) RETURNS TABLE (
  became TEXT[], job BIGINT, queue TEXT, attempt INTEGER, payload BYTEA, sealed BOOLEAN, digest BYTEA,
  labels TEXT[]
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
  IF cardinality(_jobs) > 0 THEN
    became := end_attempts(_jobs, _attempts, _verdicts, _messages, _now);
  END IF;
  RETURN NEXT;
  IF _is_repeated THEN
    RETURN QUERY SELECT NULL::TEXT[], * FROM claimed_before(_digests);
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  IF cardinality(_digests) > 0 THEN
    RETURN QUERY
    SELECT NULL::TEXT[], *
    FROM claim_jobs(_queues, _labels, _digests, _worker, _boot_id, _token_id, _until, _now);
  END IF;
END
$$;

CREATE FUNCTION promote_jobs(_now TIMESTAMPTZ) RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _queues TEXT[];
BEGIN
  DELETE FROM job_batches WHERE made_at < now() - INTERVAL '1 hour';
  WITH due AS (
    SELECT id FROM jobs WHERE NOT ready AND available_at <= _now
    ORDER BY available_at FOR NO KEY UPDATE SKIP LOCKED
  ), promoted AS (
    UPDATE jobs SET ready = true FROM due WHERE jobs.id = due.id RETURNING queue
  )
  SELECT array_agg(queue) INTO _queues FROM promoted;
  PERFORM announce_jobs(_queues) WHERE _queues IS NOT NULL;
  RETURN coalesce(cardinality(_queues), 0);
END
$$;

CREATE FUNCTION expire_leases(_now TIMESTAMPTZ)
RETURNS TABLE (job BIGINT, attempt INTEGER) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH lapsed AS (
    SELECT id, coalesce(job_queues.max_resets, 3) AS max_resets
    FROM jobs LEFT JOIN job_queues ON job_queues.name = jobs.queue
    WHERE state = 'processing' AND lease_until <= _now
    ORDER BY id FOR NO KEY UPDATE OF jobs SKIP LOCKED
  ), ended AS (
    UPDATE jobs SET
      (state, ready, turn, resets, available_at, finished_at, message) = (
        SELECT
          next.state,
          CASE WHEN next.state = 'queued' THEN true END,
          CASE WHEN next.state = 'queued' THEN next_turn(queue, priority, key) ELSE turn END,
          resets + 1,
          CASE WHEN next.state = 'queued' THEN _now ELSE available_at END,
          CASE WHEN next.state <> 'queued' THEN _now END,
          job_message_after(next.state, to_json(job_lapse_text(worker, resets)), cancel_reason)
        FROM (SELECT job_state_after_lapse(resets, lapsed.max_resets, cancel_reason::TEXT <> '""') AS state) AS next
      ),
      lease_until = NULL,
      digest = NULL
    FROM lapsed WHERE jobs.id = lapsed.id
    RETURNING jobs.id, jobs.attempt, jobs.queue, jobs.message
  ), closed AS (
    INSERT INTO job_attempts (job, number, worker, digest, started_at, ended_at, outcome, message)
    SELECT before.id, before.attempt, before.worker, before.digest, before.started_at, _now, 'lost', ended.message
    FROM ended JOIN jobs AS before ON before.id = ended.id  -- as it was when this statement began
  ), told AS (
    SELECT announce_jobs(array_agg(queue)) FROM ended HAVING count(*) > 0
  )
  SELECT ended.id, ended.attempt FROM ended LEFT JOIN told ON true ORDER BY ended.id;
END
$$;

-- Returns what is wrong, if anything, and the number of the entry.
CREATE FUNCTION add_job_entry(
  _job BIGINT, _attempt INTEGER, _key TEXT, _command TEXT, _started_at TIMESTAMPTZ, _exit_code BIGINT,
  _duration_ms BIGINT, _out BYTEA, _most BIGINT
) RETURNS TABLE (fault TEXT, entry INTEGER) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM 1 FROM jobs WHERE id = _job AND attempt = _attempt AND state = 'processing' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'lease', 0;
    RETURN;
  END IF;
  SELECT number INTO entry FROM job_entries
  WHERE job = _job AND attempt = _attempt AND key::TEXT = _key AND started_at IS NOT DISTINCT FROM _started_at
  ORDER BY number LIMIT 1;
  IF FOUND THEN
    RETURN QUERY SELECT '', entry;
    RETURN;
  END IF;
  IF job_output_size(_job) + length(_out) > _most THEN
    RETURN QUERY SELECT 'full', 0;
    RETURN;
  END IF;

  SELECT coalesce(max(number), 0) + 1 INTO entry FROM job_entries WHERE job = _job AND attempt = _attempt;
  INSERT INTO job_entries (job, attempt, number, key, command, started_at, exit_code, duration_ms, size_bytes)
  VALUES (_job, _attempt, entry, _key::JSON, _command::JSON, _started_at, _exit_code, _duration_ms, length(_out));
  INSERT INTO job_output (job, attempt, number, place, piece)
  SELECT _job, _attempt, entry, 0, _out WHERE length(_out) > 0;
  RETURN QUERY SELECT '', entry;
END
$$;

CREATE FUNCTION job_output_size(_job BIGINT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(size_bytes), 0)::BIGINT FROM job_entries WHERE job = _job
$$;

-- Returns what is wrong, if anything, and how much output the entry has.
CREATE FUNCTION update_job_entry(
  _job BIGINT, _attempt INTEGER, _number INTEGER, _key TEXT, _command TEXT, _started_at TIMESTAMPTZ,
  _exit_code BIGINT, _duration_ms BIGINT, _out BYTEA, _place BIGINT, _most BIGINT
) RETURNS TABLE (fault TEXT, size BIGINT) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _begin BIGINT;
BEGIN
  PERFORM 1 FROM jobs WHERE id = _job AND jobs.attempt = _attempt AND state = 'processing' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'lease', 0::BIGINT;
    RETURN;
  END IF;
  SELECT size_bytes INTO size FROM job_entries WHERE job = _job AND attempt = _attempt AND number = _number;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'entry', 0::BIGINT;
    RETURN;
  END IF;

  IF _place > size THEN
    RETURN QUERY SELECT 'gap', size;
    RETURN;
  END IF;
  IF _place IS NOT NULL THEN  -- what is there already counts as written
    _out := substr(_out, least(size - _place, length(_out))::INTEGER + 1);
  END IF;
  _begin := CASE WHEN _place IS NULL THEN 0 ELSE size END;
  IF job_output_size(_job) - size + _begin + length(_out) > _most THEN
    RETURN QUERY SELECT 'full', size;
    RETURN;
  END IF;

  IF _place IS NULL THEN
    DELETE FROM job_output WHERE job = _job AND attempt = _attempt AND number = _number;
  END IF;
  INSERT INTO job_output (job, attempt, number, place, piece)
  SELECT _job, _attempt, _number, _begin, _out WHERE length(_out) > 0;
  UPDATE job_entries SET
    key = _key::JSON, command = _command::JSON, started_at = _started_at, exit_code = _exit_code,
    duration_ms = _duration_ms, size_bytes = _begin + length(_out)
  WHERE job = _job AND attempt = _attempt AND number = _number;
  RETURN QUERY SELECT '', _begin + length(_out);
END
$$;

CREATE FUNCTION prune_jobs(_before TIMESTAMPTZ, _most INTEGER) RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  _old BIGINT[];
BEGIN
  SELECT array_agg(id) INTO _old FROM (
    SELECT id FROM jobs WHERE state IN ('completed', 'failed', 'canceled') AND finished_at < _before
    ORDER BY finished_at LIMIT _most FOR UPDATE SKIP LOCKED
  ) AS old;
  DELETE FROM job_output WHERE job = ANY (_old);
  DELETE FROM job_entries WHERE job = ANY (_old);
  DELETE FROM job_attempts WHERE job = ANY (_old);
  DELETE FROM jobs WHERE id = ANY (_old);
  RETURN coalesce(cardinality(_old), 0);
END
$$;
