-- The job queue. Instants are whole microseconds since 1970.
-- There are no foreign keys and no lists of values to check: each would be looked up at each write, which is what the
-- speed of the queue depends on, and only whole jobs are ever removed.

-- Ids are not used again, since leases name them.
CREATE TABLE jobs (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  queue           TEXT NOT NULL,
  state           TEXT NOT NULL,
  ready           INTEGER,  -- 1: may be given out. 0: waits for `available_at`. NULL: neither.
  priority        INTEGER NOT NULL,
  turn            INTEGER NOT NULL,  -- place within its priority: the first jobs of all keys come before the second ones
  labels          TEXT NOT NULL,  -- a sorted list in JSON without spaces, so that equal sets are equal texts
  key             TEXT NOT NULL,
  attempt         INTEGER NOT NULL DEFAULT 0,
  failures        INTEGER NOT NULL DEFAULT 0,
  resets          INTEGER NOT NULL DEFAULT 0,
  max_attempts    INTEGER NOT NULL,
  retry_delay     REAL NOT NULL,
  queued_at       INTEGER NOT NULL,
  available_at    INTEGER NOT NULL,
  started_at      INTEGER,
  heartbeat_at    INTEGER,
  finished_at     INTEGER,
  lease_until     INTEGER,
  worker          TEXT NOT NULL DEFAULT '',
  boot_id         TEXT NOT NULL DEFAULT '',
  token_id        INTEGER NOT NULL DEFAULT 0,
  digest          BLOB,  -- of the token of the newest lease; gone once that attempt is among `job_attempts`
  cancel_reason   TEXT NOT NULL DEFAULT '',
  message         TEXT NOT NULL DEFAULT '',
  sealed          INTEGER NOT NULL,
  idempotency_key TEXT NOT NULL
) STRICT;

-- Partial, so that jobs which have ended cost nothing, however many they are.
CREATE INDEX jobs_ready ON jobs (queue, labels, priority DESC, turn, id, key) WHERE ready = 1;
CREATE INDEX jobs_waiting ON jobs (queue, key, priority DESC, turn, state, ready, available_at) WHERE ready IS NOT NULL;
CREATE INDEX jobs_delayed ON jobs (available_at) WHERE ready = 0;
CREATE INDEX jobs_held ON jobs (digest, queue, key) WHERE state = 'processing';
CREATE INDEX jobs_ended ON jobs (queue, state, finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (idempotency_key) WHERE idempotency_key <> '';

-- Apart from the jobs, whose rows are written again and again.
CREATE TABLE job_payloads (id INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;

-- Attempts that have ended. The one that runs is in the row of its job, and one that completes a job and says no more
-- stays there: nothing happens to that row any more, and most attempts are such.
CREATE TABLE job_attempts (
  job        INTEGER NOT NULL,
  number     INTEGER NOT NULL,
  worker     TEXT NOT NULL,
  digest     BLOB NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL,
  verdict    TEXT,  -- what its worker said
  outcome    TEXT NOT NULL,
  message    TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- Digests are random: in one range of jobs after the other, so that those written together lie close together.
CREATE INDEX job_attempts_by_digest ON job_attempts (job >> 10, digest);
CREATE INDEX jobs_by_digest ON jobs (id >> 10, digest) WHERE state = 'completed';

CREATE TABLE job_entries (
  job         INTEGER NOT NULL,
  attempt     INTEGER NOT NULL,
  number      INTEGER NOT NULL,
  key         TEXT NOT NULL,
  command     TEXT NOT NULL,  -- a list in JSON
  started_at  INTEGER,
  exit_code   INTEGER,
  duration_ms INTEGER,
  size_bytes  INTEGER NOT NULL,
  PRIMARY KEY (job, attempt, number)
) STRICT, WITHOUT ROWID;

-- The output of an entry in pieces, each at its offset in bytes.
CREATE TABLE job_output (
  job     INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  number  INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  piece   BLOB NOT NULL,
  PRIMARY KEY (job, attempt, number, place)
) STRICT;

CREATE TABLE job_queues (
  name       TEXT PRIMARY KEY,
  paused     INTEGER NOT NULL,
  most       INTEGER NOT NULL,
  most_a_key INTEGER NOT NULL,
  max_resets INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE job_workers (
  name          TEXT PRIMARY KEY,
  said          TEXT NOT NULL,  -- JSON
  first_seen_at INTEGER NOT NULL,
  last_seen_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE job_tokens (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL CHECK (role IN ('worker', 'admin')),
  digest     BLOB NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX job_tokens_by_name ON job_tokens (name) WHERE revoked_at IS NULL;
