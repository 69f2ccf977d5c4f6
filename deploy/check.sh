#!/bin/sh
# Checks what is in this directory with the tools that are installed, and says
# which are not.
set -eu
cd "$(dirname "$0")"

if command -v promtool >/dev/null; then
  promtool check rules alerts.yml
  promtool test rules alerts_test.yml
  promtool check config prometheus.yml
else
  echo "promtool is not installed: skipped"
fi

if docker compose version >/dev/null 2>&1; then
  docker compose -f compose.yaml config -q
  echo "compose.yaml: ok"
else
  echo "docker compose is not installed: skipped"
fi

if command -v kubectl >/dev/null; then
  kubectl kustomize kubernetes >/dev/null
  echo "kubernetes: ok"
elif command -v kustomize >/dev/null; then
  kustomize build kubernetes >/dev/null
  echo "kubernetes: ok"
else
  echo "kubectl and kustomize are not installed: skipped"
fi
