-- name: write_batch
INSERT INTO batch
VALUES (:run, :token, :head_seq, :head_hash, :bodies, :hashes, :tasks, :moved, :counts, :reserved, :withdrawn,
        :attempts, :variables,
        :state, :reason, :started_at, :ended_at, :resumed_at, :interrupted, :cancel_at, :cancel_reason,
        :resume_count, :definition, :strategy, :workers, :new_head_seq, :new_head_hash)

-- name: head
SELECT key, token, owner IS NOT NULL, head_seq, head_hash FROM runs WHERE id = :id

-- name: link
SELECT 1 FROM events WHERE run = :key AND seq = :seq AND hash = :hash
UNION ALL
SELECT 1 FROM runs WHERE key = :key AND head_seq = :seq AND head_hash = :hash

-- name: lease
SELECT token, owner, lease_expires_at FROM runs WHERE id = :id

-- name: set_lease
UPDATE runs SET token = :token, owner = :owner, lease_expires_at = :expires_at WHERE id = :id

-- name: renew_lease
UPDATE runs SET lease_expires_at = :expires_at
WHERE id = :id AND token = :token AND owner IS NOT NULL
RETURNING token

-- name: release_lease
UPDATE runs SET owner = NULL, lease_expires_at = NULL WHERE id = :id AND token = :token

-- name: insert_definition
INSERT INTO definitions (digest, content, source) VALUES (:digest, :content, :source)
ON CONFLICT (digest) DO NOTHING

-- name: insert_run
INSERT INTO runs (id, name, kind, state, reason, definition, path, tags, strategy, workers, options, parent_id,
                  parent_task, created_at, started_at, ended_at, resume_count, token, owner, lease_expires_at,
                  head_seq, head_hash)
VALUES (:id, :name, :kind, :state, :reason, :definition, :path, :tags, :strategy, :workers, :options, :parent_id,
        :parent_task, :created_at, :started_at, :ended_at, :resume_count, 1, :owner, :expires_at, 0, :head_hash)
RETURNING key

-- name: update_run
UPDATE runs SET name = :name, kind = :kind, definition = :definition, path = :path, tags = :tags,
                strategy = :strategy, workers = :workers, options = :options, parent_id = :parent_id,
                parent_task = :parent_task
WHERE key = :key

-- name: delete_tasks
DELETE FROM tasks WHERE run = :key

-- name: insert_fresh_tasks
INSERT INTO tasks (run, id, position, key, name, role, level, state, reason, attempts, ignored)
SELECT :key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, 'pending', '', 0, 0
FROM jsonb_each(:tasks)

-- name: insert_tasks
INSERT INTO tasks (run, id, position, key, name, role, level, state, reason, attempts, ignored, started_at, ended_at,
                   failure, value)
SELECT :key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, nullif(value -> 13, 'null')
FROM jsonb_each(:tasks)

-- name: recount
UPDATE runs SET (pending, running, succeeded, failed, skipped, cancelled) = (
  SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
         count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'failed'),
         count(*) FILTER (WHERE state = 'skipped'), count(*) FILTER (WHERE state = 'cancelled')
  FROM tasks WHERE run = :key AND role = 'task'
)
WHERE key = :key

-- name: request_cancel
UPDATE runs SET
  cancel_requested_at = coalesce(cancel_requested_at, :at),
  cancel_reason = iif(cancel_requested_at IS NULL, :reason, cancel_reason)
WHERE id = :id AND state IN ('pending', 'running')

-- name: cancel_reason
SELECT json_quote(cancel_reason) FROM runs WHERE id = :id

-- name: definition
SELECT content, source FROM definitions WHERE digest = :digest

-- name: ids_between
SELECT id FROM runs WHERE id >= :first AND id < :last ORDER BY id LIMIT 6

-- name: latest_id
SELECT id FROM runs WHERE parent_id = '' ORDER BY created_at DESC, key DESC LIMIT 1

-- name: runs
SELECT json_object(
  'id', id, 'name', name, 'kind', kind, 'state', state, 'reason', reason, 'definition', definition, 'path', path,
  'tags', json(tags), 'strategy', strategy, 'workers', workers, 'options', json(options), 'parent_id', parent_id,
  'parent_task', parent_task,
  'created_at', created_at, 'started_at', started_at, 'ended_at', ended_at, 'resume_count', resume_count,
  'counts', json_object(
    'total', pending + running + succeeded + failed + skipped + cancelled, 'pending', pending, 'running', running,
    'succeeded', succeeded, 'failed', failed, 'skipped', skipped, 'cancelled', cancelled
  ),
  'owner', json(owner), 'lease_expires_at', lease_expires_at, 'cancel_requested_at', cancel_requested_at,
  'head_seq', head_seq, 'head_hash', lower(hex(head_hash))
)
FROM runs
WHERE (:id IS NULL OR id = :id)
  AND (:name = '' OR name = :name)
  AND (:kind = '' OR kind = :kind)
  AND (:parent IS NULL OR parent_id = :parent)
  AND (:tag = '' OR EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tag))
  AND (:since IS NULL OR coalesce(started_at, created_at) >= :since)
  AND (:until IS NULL OR coalesce(started_at, created_at) < :until)
  AND (:state IS NULL OR state = :state OR (:state = 'live' AND state IN ('pending', 'running')))
  AND (:min_duration <= 0.0 OR coalesce(
    unixepoch(coalesce(ended_at, :now), 'subsec') - unixepoch(started_at, 'subsec'), 0.0) >= :min_duration)
ORDER BY
  CASE :sort WHEN 'name' THEN name END,
  CASE :sort
    WHEN 'duration' THEN
      coalesce(unixepoch(coalesce(ended_at, :now), 'subsec') - unixepoch(started_at, 'subsec'), 0.0)
    WHEN 'tasks' THEN pending + running + succeeded + failed + skipped + cancelled
  END DESC,
  created_at DESC, key DESC
LIMIT :limit OFFSET :offset

-- name: run_by_id
SELECT key, id, created_at, state FROM runs WHERE id = :id

-- name: tasks
SELECT json_object(
  'id', tasks.id, 'key', tasks.key, 'name', tasks.name, 'role', role, 'level', level, 'state', tasks.state,
  'reason', tasks.reason, 'attempts', attempts, 'started_at', tasks.started_at, 'ended_at', tasks.ended_at,
  'failure', json(failure), 'value', json(value), 'ignored', json(iif(ignored, 'true', 'false'))
)
FROM tasks JOIN runs ON runs.key = tasks.run
WHERE runs.id = :id
ORDER BY position, tasks.id

-- name: attempts
SELECT json_object(
  'task_id', task_id, 'number', number, 'state', attempts.state, 'started_at', attempts.started_at,
  'ended_at', attempts.ended_at, 'failure', json(failure)
)
FROM attempts JOIN runs ON runs.key = attempts.run
WHERE runs.id = :id
ORDER BY seq, task_id, number

-- name: variables
SELECT json_object('name', variables.name, 'value', value, 'set_by', set_by, 'set_at', set_at)
FROM variables JOIN runs ON runs.key = variables.run
WHERE runs.id = :id
ORDER BY variables.name

-- name: events
SELECT seq, CAST(body AS BLOB), lower(hex(hash))
FROM events
WHERE run = (SELECT key FROM runs WHERE id = :id) AND seq > :after
ORDER BY seq LIMIT :limit
