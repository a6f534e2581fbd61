-- name: submit
SELECT submit_jobs(%b, %b::JSONB, %b)

-- name: exchange
SELECT * FROM exchange_jobs(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)

-- name: lock
SELECT lock_limited_queues(%b)

-- name: heartbeat
UPDATE jobs SET heartbeat_at = %b, lease_until = greatest(lease_until, %b)
WHERE id = ANY (%b) AND state = 'processing' AND worker = %b AND boot_id = %b AND queue = coalesce(%b, queue)
RETURNING id, cancel_reason::TEXT <> '""'

-- name: promote
SELECT promote_jobs(%b)

-- name: expire
SELECT * FROM expire_leases(%b)

-- name: add_entry
SELECT * FROM add_job_entry(%b, %b, %b, %b, %b, %b, %b, %b, %b)

-- name: update_entry
SELECT * FROM update_job_entry(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)

-- name: prune
SELECT prune_jobs(%b, %b)

-- name: ask_to_stop
UPDATE jobs SET cancel_reason = %(reason)s WHERE id = %(id)s AND cancel_reason::TEXT = '""'

-- name: cancel
UPDATE jobs SET
  state = 'canceled', ready = NULL, cancel_reason = %(reason)s, message = %(reason)s, finished_at = %(now)s
WHERE id = %(id)s

-- name: retry
UPDATE jobs SET
  state = 'queued', ready = true, turn = next_turn(queue, priority, key), failures = 0, resets = 0,
  available_at = %(now)s, finished_at = NULL, cancel_reason = '""', message = '""'
WHERE id = %(id)s

-- name: holder
SELECT id, attempt, queue, worker, state = 'processing', CASE state WHEN 'completed' THEN 'completed' END
FROM jobs WHERE digest = %(digest)s
UNION ALL
SELECT job, number, queue, job_attempts.worker, false, outcome
FROM job_attempts JOIN jobs ON jobs.id = job_attempts.job
WHERE job_attempts.digest = %(digest)s

-- name: lease_of
SELECT id, attempt FROM jobs WHERE id = %s AND state = 'processing' AND worker = %s AND token_id = %s

-- name: job
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs WHERE id = %s

-- name: held_job
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs WHERE id = %s FOR NO KEY UPDATE

-- name: jobs
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs
WHERE (%(below)s = 0 OR id < %(below)s)
  AND (%(queue)s = '' OR queue = %(queue)s)
  AND (%(state)s::TEXT IS NULL OR state = %(state)s)
  AND (%(key)s = '' OR key = %(key)s)
  AND (%(worker)s = '' OR worker = %(worker)s)
ORDER BY id DESC LIMIT %(limit)s

-- name: job_by_key
SELECT id, queue, state, priority, labels, key, attempt, failures, resets, max_attempts, retry_delay, queued_at,
       available_at, started_at, heartbeat_at, finished_at, lease_until, worker, cancel_reason, message, sealed
FROM jobs WHERE idempotency_key = %s AND idempotency_key <> ''

-- name: payload
SELECT payload FROM jobs WHERE id = %s

-- name: attempts
SELECT job, number, worker, started_at, ended_at, outcome, message FROM job_attempts WHERE job = %(id)s
UNION ALL
SELECT id, attempt, worker, started_at, finished_at, CASE state WHEN 'completed' THEN 'completed' END, '""'
FROM jobs WHERE id = %(id)s AND digest IS NOT NULL
ORDER BY number

-- name: entries
SELECT job, attempt, number, key, command, started_at, exit_code, duration_ms, size_bytes
FROM job_entries WHERE job = %s ORDER BY attempt, number

-- name: output
SELECT place, piece FROM job_output
WHERE job = %(job)s AND attempt = %(attempt)s AND number = %(number)s AND place < %(end)s AND place >= (
  SELECT coalesce(max(place), 0) FROM job_output
  WHERE job = %(job)s AND attempt = %(attempt)s AND number = %(number)s AND place <= %(offset)s
)
ORDER BY place

-- name: queues
SELECT name, coalesce(paused, false), coalesce(most, 0), coalesce(most_a_key, 0), coalesce(max_resets, 3),
       coalesce(counts, '{}'), oldest_at
FROM job_queues FULL JOIN (
  SELECT queue AS name, json_object_agg(state, jobs) AS counts, min(oldest_at) AS oldest_at
  FROM (
    SELECT queue, state, count(*) AS jobs, min(available_at) FILTER (WHERE ready) AS oldest_at
    FROM jobs GROUP BY queue, state
  ) AS states
  GROUP BY queue
) AS found USING (name)
ORDER BY name

-- name: ready_queues
SELECT queue FROM unnest(%s::TEXT[]) AS asked (queue)
WHERE EXISTS (SELECT 1 FROM jobs WHERE ready AND jobs.queue = asked.queue)

-- name: set_queue
INSERT INTO job_queues (name, paused, most, most_a_key, max_resets)
VALUES (%(name)s, %(paused)s, %(limit)s, %(key_limit)s, %(max_resets)s)
ON CONFLICT (name) DO UPDATE SET
  paused = excluded.paused, most = excluded.most, most_a_key = excluded.most_a_key, max_resets = excluded.max_resets

-- name: announce
SELECT announce_jobs(%s)

-- name: note_worker
INSERT INTO job_workers (name, said, first_seen_at, last_seen_at)
VALUES (%(name)s, %(said)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET
  said = excluded.said, last_seen_at = greatest(job_workers.last_seen_at, excluded.last_seen_at)

-- name: workers
SELECT said::TEXT, first_seen_at, last_seen_at,
       (SELECT count(*) FROM jobs WHERE state = 'processing' AND worker = job_workers.name)
FROM job_workers ORDER BY name

-- name: add_token
INSERT INTO job_tokens (name, role, digest, created_at) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
RETURNING id, name, role, created_at, digest, revoked_at

-- name: token
SELECT id, name, role, created_at, digest, revoked_at FROM job_tokens WHERE digest = %s

-- name: tokens
SELECT id, name, role, created_at, digest, revoked_at FROM job_tokens ORDER BY id

-- name: revoke_token
UPDATE job_tokens SET revoked_at = coalesce(revoked_at, %(now)s)
WHERE id = (SELECT max(id) FROM job_tokens WHERE name = %(name)s)
RETURNING id, name, role, created_at, digest, revoked_at
