#!/usr/bin/env bash
# Code, exports, files and dependencies that nothing uses (knip.json).
exec knip --no-progress
