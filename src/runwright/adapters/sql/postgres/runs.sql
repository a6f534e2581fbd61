-- name: write_batch
SELECT write_batch(
  %(run)s::bigint, %(token)s::bigint, %(head_seq)s::bigint, %(head_hash)s::bytea, %(bodies)s::json,
  %(hashes)s::bytea, %(tasks)s::json, %(moved)s::json, %(counts)s::json, %(reserved)s::json, %(withdrawn)s::json,
  %(attempts)s::json, %(variables)s::json, %(state)s::text, %(reason)s::json, %(started_at)s::timestamptz,
  %(ended_at)s::timestamptz, %(resumed_at)s::timestamptz, %(interrupted)s::json, %(cancel_at)s::timestamptz,
  %(cancel_reason)s::json, %(resume_count)s::integer, %(definition)s::text, %(strategy)s::text,
  %(workers)s::integer, %(new_head_seq)s::bigint, %(new_head_hash)s::bytea
)

-- name: head
SELECT key, token, owner IS NOT NULL, head_seq, head_hash FROM runs WHERE id = %(id)s
FOR NO KEY UPDATE

-- name: link
SELECT 1 FROM events WHERE run = %(key)s AND seq = %(seq)s AND hash = %(hash)s
UNION ALL
SELECT 1 FROM runs WHERE key = %(key)s AND head_seq = %(seq)s AND head_hash = %(hash)s

-- name: lease
SELECT token, owner::text, to_json(lease_expires_at) #>> '{}' FROM runs WHERE id = %(id)s
FOR NO KEY UPDATE

-- name: set_lease
UPDATE runs SET token = %(token)s, owner = %(owner)s::json, lease_expires_at = %(expires_at)s::timestamptz
WHERE id = %(id)s

-- name: renew_lease
UPDATE runs SET lease_expires_at = %(expires_at)s::timestamptz
WHERE id = %(id)s AND token = %(token)s AND owner IS NOT NULL
RETURNING token

-- name: release_lease
UPDATE runs SET owner = NULL, lease_expires_at = NULL WHERE id = %(id)s AND token = %(token)s

-- name: insert_definition
INSERT INTO definitions (digest, content, source) VALUES (%(digest)s, %(content)s, %(source)s)
ON CONFLICT (digest) DO NOTHING

-- name: insert_run
INSERT INTO runs (id, name, kind, state, reason, definition, path, tags, strategy, workers, options, parent_id,
                  parent_task, created_at, started_at, ended_at, resume_count, token, owner, lease_expires_at,
                  head_seq, head_hash)
VALUES (%(id)s, %(name)s, %(kind)s, %(state)s, %(reason)s::json, %(definition)s, %(path)s, %(tags)s::json,
        %(strategy)s, %(workers)s, %(options)s::json, %(parent_id)s, %(parent_task)s, %(created_at)s::timestamptz,
        %(started_at)s::timestamptz, %(ended_at)s::timestamptz, %(resume_count)s, 1, %(owner)s::json,
        %(expires_at)s::timestamptz, 0, %(head_hash)s)
RETURNING key

-- name: update_run
UPDATE runs SET name = %(name)s, kind = %(kind)s, definition = %(definition)s, path = %(path)s,
                tags = %(tags)s::json, strategy = %(strategy)s, workers = %(workers)s, options = %(options)s::json,
                parent_id = %(parent_id)s, parent_task = %(parent_task)s
WHERE key = %(key)s

-- name: delete_tasks
DELETE FROM tasks WHERE run = %(key)s

-- name: insert_fresh_tasks
INSERT INTO tasks (run, id, position, key, name, role, level, state, reason, attempts, ignored)
SELECT %(key)s, task ->> 0, (task ->> 1)::bigint, task ->> 2, task ->> 3, task ->> 4, (task ->> 5)::integer,
       'pending', '""', 0, false
FROM json_array_elements(%(tasks)s::json) AS task

-- name: insert_tasks
INSERT INTO tasks (run, id, position, key, name, role, level, state, reason, attempts, ignored, started_at, ended_at,
                   failure, value)
SELECT %(key)s, task ->> 0, (task ->> 1)::bigint, task ->> 2, task ->> 3, task ->> 4,
       (task ->> 5)::integer, task ->> 6, (task ->> 7)::json, (task ->> 8)::integer, (task ->> 9)::boolean,
       (task ->> 10)::timestamptz, (task ->> 11)::timestamptz, (task ->> 12)::json, (task ->> 13)::json
FROM json_array_elements(%(tasks)s::json) AS task

-- name: recount
UPDATE runs SET (pending, running, succeeded, failed, skipped, cancelled) = (
  SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
         count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'failed'),
         count(*) FILTER (WHERE state = 'skipped'), count(*) FILTER (WHERE state = 'cancelled')
  FROM tasks WHERE run = %(key)s AND role = 'task'
)
WHERE key = %(key)s

-- name: request_cancel
UPDATE runs SET
  cancel_requested_at = coalesce(cancel_requested_at, %(at)s::timestamptz),
  cancel_reason = CASE WHEN cancel_requested_at IS NULL THEN %(reason)s::json ELSE cancel_reason END
WHERE id = %(id)s AND state IN ('pending', 'running')

-- name: cancel_reason
SELECT cancel_reason::text FROM runs WHERE id = %(id)s

-- name: definition
SELECT content, source FROM definitions WHERE digest = %(digest)s

-- name: ids_between
SELECT id FROM runs WHERE id >= %(first)s AND id < %(last)s ORDER BY id LIMIT 6

-- name: latest_id
SELECT id FROM runs WHERE parent_id = '' ORDER BY created_at DESC, key DESC LIMIT 1

-- name: runs
SELECT json_build_object(
  'id', id, 'name', name, 'kind', kind, 'state', state, 'reason', reason, 'definition', definition, 'path', path,
  'tags', tags, 'strategy', strategy, 'workers', workers, 'options', options, 'parent_id', parent_id,
  'parent_task', parent_task,
  'created_at', created_at, 'started_at', started_at, 'ended_at', ended_at, 'resume_count', resume_count,
  'counts', json_build_object(
    'total', pending + running + succeeded + failed + skipped + cancelled, 'pending', pending, 'running', running,
    'succeeded', succeeded, 'failed', failed, 'skipped', skipped, 'cancelled', cancelled
  ),
  'owner', owner, 'lease_expires_at', lease_expires_at, 'cancel_requested_at', cancel_requested_at,
  'head_seq', head_seq, 'head_hash', encode(head_hash, 'hex')
)::text
FROM runs
CROSS JOIN LATERAL (
  SELECT coalesce(extract(epoch FROM coalesce(ended_at, %(now)s::timestamptz) - started_at), 0.0)::float8 AS seconds
) AS lasted
WHERE (%(id)s::text IS NULL OR id = %(id)s)
  AND (%(name)s::text = '' OR name = %(name)s)
  AND (%(kind)s::text = '' OR kind = %(kind)s)
  AND (%(parent)s::text IS NULL OR parent_id = %(parent)s)
  AND (%(tag)s::text = '""' OR EXISTS (SELECT 1 FROM json_array_elements(tags) AS tag WHERE tag::text = %(tag)s))
  AND (%(since)s::timestamptz IS NULL OR coalesce(started_at, created_at) >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR coalesce(started_at, created_at) < %(until)s::timestamptz)
  AND (%(state)s::text IS NULL OR state = %(state)s
       OR (%(state)s = 'live' AND state IN ('pending', 'running')))
  AND (%(min_duration)s::float8 <= 0.0 OR seconds >= %(min_duration)s::float8)
ORDER BY
  CASE %(sort)s::text WHEN 'name' THEN name END,
  CASE %(sort)s::text
    WHEN 'duration' THEN seconds
    WHEN 'tasks' THEN pending + running + succeeded + failed + skipped + cancelled
  END DESC,
  created_at DESC, key DESC
LIMIT nullif(%(limit)s::bigint, -1) OFFSET %(offset)s

-- name: run_by_id
SELECT key, id, created_at, state FROM runs WHERE id = %(id)s

-- name: tasks
SELECT json_build_object(
  'id', tasks.id, 'key', tasks.key, 'name', tasks.name, 'role', role, 'level', level, 'state', tasks.state,
  'reason', tasks.reason, 'attempts', attempts, 'started_at', tasks.started_at, 'ended_at', tasks.ended_at,
  'failure', failure, 'value', value, 'ignored', ignored
)::text
FROM tasks JOIN runs ON runs.key = tasks.run
WHERE runs.id = %(id)s
ORDER BY position, tasks.id

-- name: attempts
SELECT json_build_object(
  'task_id', task_id, 'number', number, 'state', attempts.state, 'started_at', attempts.started_at,
  'ended_at', attempts.ended_at, 'failure', failure
)::text
FROM attempts JOIN runs ON runs.key = attempts.run
WHERE runs.id = %(id)s
ORDER BY seq, task_id, number

-- name: variables
SELECT json_build_object('name', variables.name, 'value', value, 'set_by', set_by, 'set_at', set_at)::text
FROM variables JOIN runs ON runs.key = variables.run
WHERE runs.id = %(id)s
ORDER BY variables.name

-- name: events
SELECT seq, convert_to(body::text, 'UTF8'), encode(hash, 'hex')
FROM events
WHERE run = (SELECT key FROM runs WHERE id = %(id)s) AND seq > %(after)s
ORDER BY seq LIMIT %(limit)s
