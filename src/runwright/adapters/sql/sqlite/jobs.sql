-- name: find_idempotent
SELECT id FROM jobs WHERE idempotency_key = ?1 AND idempotency_key <> ''

-- name: next_turn
SELECT max(
  coalesce((
    SELECT max(turn) + 1 FROM jobs INDEXED BY jobs_waiting
    WHERE ready IS NOT NULL AND queue = ?1 AND key = ?3 AND priority = ?2
  ), 0),
  coalesce((
    WITH RECURSIVE sets(labels) AS (
      SELECT min(labels) FROM jobs INDEXED BY jobs_ready WHERE ready = 1 AND queue = ?1
      UNION ALL
      SELECT (
        SELECT min(jobs.labels) FROM jobs INDEXED BY jobs_ready
        WHERE ready = 1 AND queue = ?1 AND jobs.labels > sets.labels
      )
      FROM sets WHERE sets.labels IS NOT NULL
    )
    SELECT min((
      SELECT min(turn) FROM jobs INDEXED BY jobs_ready
      WHERE ready = 1 AND queue = ?1 AND jobs.labels = sets.labels AND priority = ?2
    ))
    FROM sets
  ), 0)
)

-- name: submit
INSERT INTO jobs (queue, state, ready, priority, turn, labels, key, max_attempts, retry_delay, queued_at, available_at,
                  sealed, idempotency_key)
VALUES (?1, 'queued', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
RETURNING id

-- name: submit_payload
INSERT INTO job_payloads (id, payload) VALUES (?1, ?2)

-- name: held_jobs
SELECT jobs.id, attempt, queue, worker, digest, started_at, failures, max_attempts, retry_delay, cancel_reason
FROM json_each(?1) AS asked CROSS JOIN jobs ON jobs.id = asked.value AND state = 'processing'

-- name: complete_job
UPDATE jobs SET state = 'completed', finished_at = ?3, lease_until = NULL
WHERE id = ?1 AND attempt = ?2 AND state = 'processing'

-- name: end_attempt
INSERT INTO job_attempts (job, number, worker, digest, started_at, ended_at, verdict, outcome, message)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)

-- name: end_job
UPDATE jobs SET
  state = ?3, failures = ?4, resets = resets + ?5, message = ?6, finished_at = ?7, lease_until = NULL, digest = NULL
WHERE id = ?1 AND attempt = ?2 AND state = 'processing'

-- name: verdict
SELECT verdict FROM job_attempts WHERE job = ?1 AND number = ?2
UNION ALL
SELECT 'completed' FROM jobs WHERE id = ?1 AND attempt = ?2 AND state = 'completed' AND digest IS NOT NULL

-- name: place_of
SELECT queue, priority, key FROM jobs WHERE id = ?1

-- name: wait_again
UPDATE jobs SET ready = ?2, turn = ?3, available_at = ?4 WHERE id = ?1

-- name: limited_queues
SELECT name FROM job_queues WHERE most > 0 OR most_a_key > 0

-- name: settings
SELECT name, paused, most, most_a_key, max_resets FROM job_queues WHERE name = ?1

-- name: held
SELECT count(*) FROM jobs INDEXED BY jobs_held WHERE state = 'processing' AND queue = ?1

-- name: held_by_key
SELECT key, count(*) FROM jobs INDEXED BY jobs_held
WHERE state = 'processing' AND queue = ?1 AND key <> '' GROUP BY key

-- name: label_sets
WITH RECURSIVE sets(labels) AS (
  SELECT min(labels) FROM jobs INDEXED BY jobs_ready WHERE ready = 1 AND queue = ?1
  UNION ALL
  SELECT (
    SELECT min(jobs.labels) FROM jobs INDEXED BY jobs_ready
    WHERE ready = 1 AND queue = ?1 AND jobs.labels > sets.labels
  )
  FROM sets WHERE sets.labels IS NOT NULL
)
SELECT labels FROM sets WHERE labels IS NOT NULL

-- name: first_ready
SELECT id, key, -priority, turn FROM jobs INDEXED BY jobs_ready
WHERE ready = 1 AND queue = ?1 AND labels = ?2
ORDER BY priority DESC, turn, id LIMIT ?3

-- name: waiting_keys
WITH RECURSIVE keys(key) AS (
  SELECT min(key) FROM jobs INDEXED BY jobs_waiting WHERE ready IS NOT NULL AND queue = ?1
  UNION ALL
  SELECT (
    SELECT min(jobs.key) FROM jobs INDEXED BY jobs_waiting
    WHERE ready IS NOT NULL AND queue = ?1 AND jobs.key > keys.key
  )
  FROM keys WHERE keys.key IS NOT NULL
)
SELECT key FROM keys WHERE key IS NOT NULL

-- name: first_of_key
SELECT id, key, -priority, turn FROM jobs INDEXED BY jobs_waiting
WHERE ready IS NOT NULL AND ready = 1 AND queue = ?1 AND key = ?2 AND labels IN (SELECT value FROM json_each(?3))
ORDER BY priority DESC, turn, id LIMIT ?4

-- name: offered
SELECT jobs.id, queue, attempt + 1, payload, sealed, labels
FROM json_each(?1) AS asked
CROSS JOIN jobs ON jobs.id = asked.value AND ready = 1
CROSS JOIN job_payloads ON job_payloads.id = jobs.id

-- name: give
UPDATE jobs SET
  state = 'processing', ready = NULL, attempt = attempt + 1, started_at = max(?3, available_at),
  heartbeat_at = ?3, finished_at = NULL, lease_until = ?4, worker = ?5, boot_id = ?6, token_id = ?7, digest = ?2, message = ''
WHERE id = ?1 AND ready = 1

-- name: heartbeat
UPDATE jobs SET heartbeat_at = ?2, lease_until = max(lease_until, ?3)
WHERE id = ?1 AND state = 'processing' AND worker = ?4 AND boot_id = ?5 AND (?6 = '' OR queue = ?6)
RETURNING id, cancel_reason <> ''

-- name: promote
UPDATE jobs SET ready = 1 WHERE ready = 0 AND available_at <= ?1 RETURNING queue

-- name: lapsed
SELECT id, attempt, queue, worker, digest, started_at, failures, resets, cancel_reason
FROM jobs INDEXED BY jobs_held WHERE state = 'processing' AND lease_until <= ?1 ORDER BY id

-- name: is_ready
SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE ready = 1 AND queue = ?1)

-- name: holder
SELECT id, attempt, queue, worker, NULL FROM jobs INDEXED BY jobs_held WHERE digest = ?1 AND state = 'processing'

-- name: former_holder
WITH RECURSIVE ranges(number) AS (
  SELECT max(id) >> 10 FROM jobs
  UNION ALL
  SELECT number - 1 FROM ranges WHERE number > (SELECT min(id) >> 10 FROM jobs)
)
SELECT job, job_attempts.number, jobs.queue, job_attempts.worker, outcome
FROM ranges
CROSS JOIN job_attempts INDEXED BY job_attempts_by_digest ON job >> 10 = ranges.number AND job_attempts.digest = ?1
CROSS JOIN jobs ON jobs.id = job
UNION ALL
SELECT id, attempt, queue, worker, 'completed'
FROM ranges
CROSS JOIN jobs INDEXED BY jobs_by_digest ON id >> 10 = ranges.number AND digest = ?1 AND state = 'completed'
LIMIT 1

-- name: lease_of
SELECT attempt FROM jobs WHERE id = ?1 AND state = 'processing' AND worker = ?2 AND token_id = ?3

-- name: is_held
SELECT 1 FROM jobs WHERE id = ?1 AND attempt = ?2 AND state = 'processing'

-- name: find_entry
SELECT number FROM job_entries WHERE job = ?1 AND attempt = ?2 AND key = ?3 AND started_at IS ?4

-- name: last_entry
SELECT coalesce(max(number), 0) FROM job_entries WHERE job = ?1 AND attempt = ?2

-- name: entry_size
SELECT size_bytes FROM job_entries WHERE job = ?1 AND attempt = ?2 AND number = ?3

-- name: job_size
SELECT coalesce(sum(size_bytes), 0) FROM job_entries WHERE job = ?1

-- name: put_entry
INSERT OR REPLACE INTO job_entries (job, attempt, number, key, command, started_at, exit_code, duration_ms, size_bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)

-- name: clear_output
DELETE FROM job_output WHERE job = ?1 AND attempt = ?2 AND number = ?3

-- name: add_output
INSERT INTO job_output (job, attempt, number, place, piece) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: output
SELECT place, piece FROM job_output
WHERE job = ?1 AND attempt = ?2 AND number = ?3 AND place < ?5 AND place >= coalesce((
  SELECT max(place) FROM job_output WHERE job = ?1 AND attempt = ?2 AND number = ?3 AND place <= ?4
), 0)
ORDER BY place

-- name: ask_to_stop
UPDATE jobs SET cancel_reason = ?2 WHERE id = ?1 AND cancel_reason = '' AND state = 'processing'

-- name: cancel
UPDATE jobs SET state = 'canceled', ready = NULL, cancel_reason = ?2, message = ?2, finished_at = ?3
WHERE id = ?1 AND state IN ('queued', 'errored')

-- name: retry
UPDATE jobs SET state = 'queued', ready = NULL, failures = 0, resets = 0, finished_at = NULL, cancel_reason = '',
                message = ''
WHERE id = ?1 AND state IN ('errored', 'failed', 'canceled')

-- name: job
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs WHERE id = ?1

-- name: jobs
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs
WHERE id < CASE WHEN :below > 0 THEN :below ELSE 9223372036854775807 END
  AND (:queue = '' OR queue = :queue)
  AND (:state = '' OR state = :state)
  AND (:key = '' OR key = :key)
  AND (:worker = '' OR worker = :worker)
ORDER BY id DESC LIMIT :limit

-- name: job_of_key
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs WHERE idempotency_key = ?1 AND idempotency_key <> ''

-- name: payload
SELECT payload FROM job_payloads WHERE id = ?1

-- name: attempts
SELECT job, number, worker, started_at, ended_at, outcome, message FROM job_attempts WHERE job = ?1
UNION ALL
SELECT id, attempt, worker, started_at, finished_at, CASE state WHEN 'completed' THEN 'completed' END, ''
FROM jobs WHERE id = ?1 AND digest IS NOT NULL
ORDER BY 2

-- name: entries
SELECT job, attempt, number, key, command, started_at, exit_code, duration_ms, size_bytes
FROM job_entries WHERE job = ?1 ORDER BY attempt, number

-- name: queue_settings
SELECT name, paused, most, most_a_key, max_resets FROM job_queues

-- name: counts
SELECT queue, state, count(*), min(CASE WHEN ready = 1 THEN available_at END)
FROM jobs INDEXED BY jobs_waiting WHERE ready IS NOT NULL GROUP BY queue, state
UNION ALL
SELECT queue, 'processing', count(*), NULL
FROM jobs INDEXED BY jobs_held WHERE state = 'processing' GROUP BY queue
UNION ALL
SELECT queue, state, count(*), NULL
FROM jobs INDEXED BY jobs_ended WHERE finished_at IS NOT NULL AND state <> 'errored' GROUP BY queue, state

-- name: set_queue
INSERT OR REPLACE INTO job_queues (name, paused, most, most_a_key, max_resets) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: note_worker
INSERT INTO job_workers (name, said, first_seen_at, last_seen_at) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT (name) DO UPDATE SET said = excluded.said, last_seen_at = excluded.last_seen_at

-- name: workers
SELECT said, first_seen_at, last_seen_at, coalesce(leases, 0)
FROM job_workers LEFT JOIN (
  SELECT worker, count(*) AS leases FROM jobs INDEXED BY jobs_held WHERE state = 'processing' GROUP BY worker
) AS held ON held.worker = job_workers.name
ORDER BY name

-- name: add_token
INSERT INTO job_tokens (name, role, digest, created_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
RETURNING id, name, role, created_at, digest, revoked_at

-- name: token
SELECT id, name, role, created_at, digest, revoked_at FROM job_tokens WHERE digest = ?1

-- name: tokens
SELECT id, name, role, created_at, digest, revoked_at FROM job_tokens ORDER BY id

-- name: revoke_token
UPDATE job_tokens SET revoked_at = coalesce(revoked_at, ?2)
WHERE id = (SELECT max(id) FROM job_tokens WHERE name = ?1)
RETURNING id, name, role, created_at, digest, revoked_at

-- name: ended_queues
WITH RECURSIVE found(queue) AS (
  SELECT min(queue) FROM jobs INDEXED BY jobs_ended WHERE finished_at IS NOT NULL
  UNION ALL
  SELECT (
    SELECT min(jobs.queue) FROM jobs INDEXED BY jobs_ended WHERE finished_at IS NOT NULL AND jobs.queue > found.queue
  )
  FROM found WHERE found.queue IS NOT NULL
)
SELECT queue FROM found WHERE queue IS NOT NULL

-- name: ended_before
SELECT finished_at, id FROM jobs INDEXED BY jobs_ended
WHERE queue = ?1 AND state = ?2 AND finished_at < ?3
ORDER BY finished_at LIMIT ?4

-- name: prune_output
DELETE FROM job_output WHERE job = ?1

-- name: prune_entries
DELETE FROM job_entries WHERE job = ?1

-- name: prune_attempts
DELETE FROM job_attempts WHERE job = ?1

-- name: prune_payload
DELETE FROM job_payloads WHERE id = ?1

-- name: prune_job
DELETE FROM jobs WHERE id = ?1

-- name: changes_of_others
PRAGMA data_version
