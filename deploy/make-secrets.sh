#!/bin/sh
# Makes what docker-compose.yml needs and nobody should know; what is there already stays as it is.
set -eu
cd "$(dirname "$0")"

random() {
    head -c 48 /dev/urandom | base64 | tr -d '+/=\n'
}

keep() {
    # Containers read them as a user of their own; on this machine the folder is shut.
    test -e "secrets/$1" || { printf '%s' "$2" > "secrets/$1" && chmod 444 "secrets/$1"; }
}

mkdir -p secrets
chmod 700 secrets
keep secret_key "$(random)"
keep field_key "$(random)"
keep postgres_password "$(random)"
keep database_url "postgres://bough:$(cat secrets/postgres_password)@postgres/bough"
test -e bough.env || cat > bough.env << 'SETTINGS'
# What people type to reach Bough; all that .env.example names can stand here.
SITE_URL=http://localhost:8080
#OPENAI_API_KEY=
SETTINGS
