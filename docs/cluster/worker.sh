#!/bin/sh
# Runs a command as worker INDEX of the workers at HOSTS, "host:port host:port ...".
#
#     HOSTS="a:2222 b:2222" INDEX=0 sh docs/cluster/worker.sh python docs/cluster/train.py ...
set -eu
list=$(printf '"%s",' $HOSTS)
export TF_CONFIG="{\"cluster\": {\"worker\": [${list%,}]}, \"task\": {\"type\": \"worker\", \"index\": $INDEX}}"
exec "$@"
