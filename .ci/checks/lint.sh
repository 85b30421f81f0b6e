#!/usr/bin/env bash
# Formatting and lint rules, over every file that biome knows.
exec biome check --error-on-warnings .
