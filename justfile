# What CI runs, one recipe a stage. `just` alone lists them; without `just`, call .ci/run with the stage's name.

default:
    @just --list

# Everything CI does, in its order
ci:
    .ci/run

# The code is formatted
fmt:
    .ci/run fmt

# No warning anywhere
lint:
    .ci/run lint

# Licences, bans and sources of all dependencies
deny:
    .ci/run deny

# Known vulnerabilities; needs the advisory database
advisories:
    cargo deny check advisories

# All tests
test:
    .ci/run test

# Faults built in on purpose are found
planted:
    .ci/run planted

# A short replay against a real server
replay:
    .ci/run replay

# schemathesis against a real server, a short run
schema:
    .ci/run schema

# docs/settings.md and config/rollcall.example.toml from the declarations of the settings
settings:
    cargo run -p rollcall-config --example write_reference
