#!/usr/bin/env bash
# Fetches the emoji packages named in world.py from the npm registry into data/make/cache/packages.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p cache/packages && cd cache/packages
for package in @iconify-json/twemoji@1.2.5 @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5 \
  @lobehub/fluent-emoji-3d@1.1.0 @iconify-json/fluent-emoji-flat@1.2.6 \
  @iconify-json/fluent-emoji-high-contrast@1.2.6 @iconify-json/emojione@1.2.3 emojibase-data@17.0.0; do
  name=${package%@*}; folder=${name#@}; folder=${folder//\//-}
  [ -e "$folder/package.json" ] && continue
  archive=$(npm pack --silent "$package")
  mkdir -p "$folder" && tar xzf "$archive" -C "$folder" --strip-components=1 && rm "$archive"
done
