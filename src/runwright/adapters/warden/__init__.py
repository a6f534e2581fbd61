"""The helper process that owns every process of a run; started as a program of its own, never as part of an engine.

A **warden** is started once and forks one **guard** for each command that runs at the same time; a guard runs one
command after another. Guards are child subreapers: whatever a command leaves behind, however it detached itself,
becomes a child of its guard. So a command and all it started are gone exactly when the guard has no child left,
which one `waitpid` tells, and no process can be mistaken for another command's.

::

    engine ── socket ── warden ── fork ── guard ── posix_spawn ── leader ── ...
       └──── socket, two pipes ─────────────┘

* Engine to warden: one byte with three descriptors (socket, stdout, stderr) asks for a guard.
* Engine to guard: frames of 4 bytes length and a marshalled tuple. The first is ``(environment, mark)``; then
  ``(argv, cwd, env, unset, clean_env)`` starts a command and ``(grace,)`` stops the one that runs.
* Guard to engine: one line for each command, when nothing of it is left: ``<wait status>``, ``<wait status> <pids>``
  if processes of another user could not be ended, ``!<errno> <where>`` if it could not be started, ``?<text>`` if the
  guard itself failed.

When the engine dies its ends of the sockets close (and its pidfd fires), and guards kill what they have at once. When
a guard dies, its remains become children of the warden, which kills them and only then lets the engine see the end of
the guard's socket. Modules are chosen for their start time: the whole helper must be up before the engine is.
"""
