#!/usr/bin/env bash
# Starts the agent of a pod: fills what differs from host to host into the settings, then becomes the agent.
set -euo pipefail

: "${NODE_NAME:?must be the name of the host: the DaemonSet sets it}"
: "${HOST_IP:?must be the address of the host: the DaemonSet sets it}"
template=${1:-/etc/anneal/agent.yaml}
settings=${2:-/run/anneal/agent.yaml}

mkdir -p "$(dirname "$settings")"
text=$(< "$template")
text=${text//@NODE_NAME@/$NODE_NAME}
text=${text//@HOST_IP@/$HOST_IP}
printf '%s\n' "$text" > "$settings"

# In this shell's place, so that the pod's SIGTERM reaches the agent.
exec node --max-semi-space-size=2 "${ANNEAL_PREFIX:-/opt/anneal}/engine/node_modules/anneal/bin/anneal.mjs" agent --config "$settings"
