"""The queue's server over HTTP: as workers see it, and as those who submit jobs do. Needs the extra ``worker``."""
