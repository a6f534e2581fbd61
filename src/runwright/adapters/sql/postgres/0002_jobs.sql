-- The job queue. Its functions exist so that an exchange with a worker is one statement and so one trip to the server
-- and one commit; each statement in them sees what others have committed before it.
-- Texts that people and programs make up as they go are JSON, and names compare by their bytes, as with runs.
-- There are no foreign keys: each would be looked up at each write, and only whole jobs are ever removed.

CREATE SEQUENCE job_ids AS BIGINT;

CREATE TABLE jobs (
  id              BIGINT PRIMARY KEY,
  queue           TEXT COLLATE "C" NOT NULL,
  state           TEXT NOT NULL
                  CHECK (state IN ('queued', 'processing', 'completed', 'errored', 'failed', 'canceled')),
  -- True: may be given out. False: waits for `available_at`. NULL: neither.
  ready           BOOLEAN,
  priority        INTEGER NOT NULL,
  -- Place within its priority: the first jobs of all keys come before the second ones.
  turn            BIGINT NOT NULL,
  labels          TEXT[] COLLATE "C" NOT NULL,
  labels_digest   UUID NOT NULL,  -- they themselves may be too long for an index
  key             TEXT COLLATE "C" NOT NULL,
  attempt         INTEGER NOT NULL DEFAULT 0,
  failures        INTEGER NOT NULL DEFAULT 0,
  resets          INTEGER NOT NULL DEFAULT 0,
  max_attempts    INTEGER NOT NULL,
  retry_delay     DOUBLE PRECISION NOT NULL,
  queued_at       TIMESTAMPTZ NOT NULL,
  available_at    TIMESTAMPTZ NOT NULL,
  started_at      TIMESTAMPTZ,
  heartbeat_at    TIMESTAMPTZ,
  finished_at     TIMESTAMPTZ,
  lease_until     TIMESTAMPTZ,
  worker          TEXT COLLATE "C" NOT NULL DEFAULT '',
  boot_id         TEXT NOT NULL DEFAULT '',
  token_id        BIGINT NOT NULL DEFAULT 0,
  digest          BYTEA,  -- of the token of the newest lease; gone once that attempt is among `job_attempts`
  cancel_reason   JSON NOT NULL DEFAULT '""',
  message         JSON NOT NULL DEFAULT '""',
  sealed          BOOLEAN NOT NULL,
  idempotency_key TEXT COLLATE "C" NOT NULL,
  payload         BYTEA NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Partial, so that jobs which have ended are in none but those by which their tokens are known and they are removed.
CREATE INDEX jobs_to_give ON jobs (queue, labels_digest, priority DESC, turn, id) WHERE ready;
CREATE INDEX jobs_by_key ON jobs (queue, key, priority DESC, turn, id) WHERE ready IS NOT NULL;
CREATE INDEX jobs_to_promote ON jobs (available_at) WHERE NOT ready;
CREATE INDEX jobs_held ON jobs (queue, key) WHERE state = 'processing';
CREATE UNIQUE INDEX jobs_by_digest ON jobs (digest) WHERE digest IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE state IN ('completed', 'failed', 'canceled');
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (idempotency_key) WHERE idempotency_key <> '';

-- Attempts that have ended; `verdict` is what its worker said, `outcome` what came of it. The one that runs is in the row
-- of its job, and one that completes a job and says no more stays there: nothing happens to that row any more, and most
-- attempts are such.
CREATE TABLE job_attempts (
  job        BIGINT NOT NULL,
  number     INTEGER NOT NULL,
  worker     TEXT COLLATE "C" NOT NULL,
  digest     BYTEA NOT NULL,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at   TIMESTAMPTZ NOT NULL,
  verdict    TEXT,
  outcome    TEXT NOT NULL
             CHECK (outcome IN ('completed', 'errored', 'failed', 'canceled', 'handed_back', 'lost')),
  message    JSON NOT NULL,
  PRIMARY KEY (job, number)
);
CREATE INDEX job_attempts_by_digest ON job_attempts (digest);

CREATE TABLE job_entries (
  job         BIGINT NOT NULL,
  attempt     INTEGER NOT NULL,
  number      INTEGER NOT NULL,
  key         JSON NOT NULL,
  command     JSON NOT NULL,
  started_at  TIMESTAMPTZ,
  exit_code   BIGINT,
  duration_ms BIGINT,
  size_bytes  BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (job, attempt, number)
) WITH (fillfactor = 70);

-- The output of an entry in pieces, each at its offset in bytes.
CREATE TABLE job_output (
  job     BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  number  INTEGER NOT NULL,
  place   BIGINT NOT NULL,
  piece   BYTEA NOT NULL,
  PRIMARY KEY (job, attempt, number, place)
);

-- Which calls have queued what, for an hour: a call whose answer was lost with its connection is made again.
CREATE TABLE job_batches (
  id      UUID PRIMARY KEY,
  jobs    BIGINT[] NOT NULL,
  made_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX job_batches_by_age ON job_batches (made_at);

CREATE TABLE job_queues (
  name       TEXT COLLATE "C" PRIMARY KEY,
  paused     BOOLEAN NOT NULL,
  most       INTEGER NOT NULL,
  most_a_key INTEGER NOT NULL,
  max_resets INTEGER NOT NULL
);

CREATE TABLE job_workers (
  name          TEXT COLLATE "C" PRIMARY KEY,
  said          JSON NOT NULL,
  first_seen_at TIMESTAMPTZ NOT NULL,
  last_seen_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE job_tokens (
  id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       TEXT COLLATE "C" NOT NULL,
  role       TEXT NOT NULL CHECK (role IN ('worker', 'admin')),
  digest     BYTEA NOT NULL UNIQUE,
  created_at TIMESTAMPTZ NOT NULL,
  revoked_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX job_tokens_by_name ON job_tokens (name) WHERE revoked_at IS NULL;
