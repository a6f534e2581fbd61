#!/bin/sh
# Fetch what the plugin needs, and write the protocol beside it. Status 77 says that this machine lacks something.
lacks() { echo "plugin-node: $*" >&2; exit 77; }

command -v node >/dev/null || lacks "node is missing; install Node.js 18 or newer"
command -v npm >/dev/null || lacks "npm is missing; it comes with Node.js"
[ "$(node -p 'parseInt(process.versions.node) >= 18')" = true ] || lacks "node is too old; install Node.js 18 or newer"
runwright schema plugin > plugin.proto || exit 1
[ -d node_modules/@grpc/grpc-js ] ||
    npm install --no-audit --no-fund --ignore-scripts --loglevel=error >&2 ||
    lacks "npm can't fetch the packages; is there a network?"
