#!/usr/bin/env bash
# Builds one self-contained executable. Needs Node.js with npm, and nothing else.
#
#   ./compile.sh                dist/edgeproxy for this machine
#   ./compile.sh linux-arm64    dist/edgeproxy-linux-arm64 (also linux-x64, darwin-arm64, darwin-x64)
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
for argument in "$@"; do
  case "$argument" in
    --deno) runtime=deno ;;
    linux-x64 | linux-arm64 | darwin-x64 | darwin-arm64) target=$argument ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
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

deno check --quiet main.ts

version=$(node -p 'require("./deno.json").version')
mkdir -p dist
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
  # A variable of the environment must not steer the build either.
  env -u BUN_OPTIONS -u BUN_BE_BUN ./node_modules/.bin/bun build main.ts --outfile "$output" \
    --compile --minify --bytecode --format=esm ${target:+--target "bun-$target"} \
    --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
    --define "EDGEPROXY_VERSION=\"$version\"" >dist/build.log 2>&1 || { cat dist/build.log >&2; fail "the build failed"; }
  rm -f dist/build.log
fi
[ -x "$output" ] || fail "no executable at $output"

echo "$output ($(($(wc -c <"$output") / 1000000)) MB, edgeproxy $version)"
