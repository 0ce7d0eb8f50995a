#!/usr/bin/env bash
# Builds one self-contained executable. Needs Node.js with npm, and nothing else.
#
#   ./compile.sh                dist/edgeproxy for this machine
#   ./compile.sh linux-arm64    dist/edgeproxy-linux-arm64 (also linux-x64, darwin-arm64, darwin-x64)
#   ./compile.sh --dashboard    dist/dashboard only: what the admin address shows to browsers, for running from the sources
#   ./compile.sh --deno         dist/edgeproxy-deno with Deno instead of Bun, where its runtime can be downloaded
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

deno() {
  npm_config_prefer_offline=true npm_config_update_notifier=false npx -y deno@2.9.6 "$@"
}

fail() {
  echo "compile.sh: $1" >&2
  exit "${2:-1}"
}

runtime=bun
target=
dashboard_only=
for argument in "$@"; do
  case "$argument" in
    --deno) runtime=deno ;;
    --dashboard) dashboard_only=yes ;;
    linux-x64 | linux-arm64 | darwin-x64 | darwin-arm64) target=$argument ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown argument \"$argument\"; see ./compile.sh --help" 2 ;;
  esac
done
command -v npx >/dev/null || fail "Node.js with npm is needed: https://nodejs.org"

# Locked packages: present, each at the version of the manifest?
complete='
const { imports } = require("./deno.json");
for (const [name, pinned] of Object.entries(imports)) {
  const { version } = require(`./node_modules/${name}/package.json`);
  if (!pinned.endsWith(`@${version}`)) throw new Error(name);
}'
if [ ! -x node_modules/.bin/bun ] || ! node -e "$complete" 2>/dev/null; then
  deno install --frozen --quiet
fi

# A variable of the environment must not steer the build.
bun() {
  env -u BUN_OPTIONS -u BUN_BE_BUN ./node_modules/.bin/bun "$@" >dist/build.log 2>&1 ||
    { cat dist/build.log >&2; fail "the build failed"; }
  rm -f dist/build.log
}

# For browsers; the binary has both files inside.
mkdir -p dist/dashboard
bun build src/dashboard/main.tsx --outfile dist/dashboard/app.js --target=browser --minify --define process.env.NODE_ENV='"production"' \
  --jsx-runtime=automatic --jsx-import-source=hono/jsx/dom
bun build src/dashboard/style/app.css --outfile dist/dashboard/app.css --minify
[ -z "$dashboard_only" ] || exit 0

deno check --quiet main.ts

version=$(node -p 'require("./deno.json").version')
output=dist/edgeproxy${target:+-$target}
if [ "$runtime" = deno ]; then
  case "$target" in
    linux-x64) triple=x86_64-unknown-linux-gnu ;;
    linux-arm64) triple=aarch64-unknown-linux-gnu ;;
    darwin-x64) triple=x86_64-apple-darwin ;;
    darwin-arm64) triple=aarch64-apple-darwin ;;
    *) triple= ;;
  esac
  output=$output-deno
  deno compile --quiet --no-check --allow-all ${triple:+--target "$triple"} --output "$output" main.ts
else
  # Without the two no-compile-autoload flags the binary would run code from a bunfig.toml in the folder it is started in.
  # Bytecode makes it start three times as fast, and needs the ESM format for top-level await.
  bun build main.ts --outfile "$output" \
    --compile --minify --bytecode --format=esm ${target:+--target "bun-$target"} \
    --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
    --define "EDGEPROXY_VERSION=\"$version\""
fi
[ -x "$output" ] || fail "no executable at $output"

echo "$output ($(($(wc -c <"$output") / 1000000)) MB, edgeproxy $version)"
