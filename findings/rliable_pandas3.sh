#!/usr/bin/env bash
# rliable 1.2.0: cannot be imported in an environment of today's newest versions.
#
# rliable asks for an arch below 8. arch 7.2.0 asks for pandas 1.4 or later and uses a decorator of pandas's own, which
# takes another argument in pandas 3: importing rliable's library raises a TypeError. With pandas 2 it works, so
# `pip install rliable 'pandas<3'` is what to do.
#
# Passes while the pair behaves so; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
pip() { "$folder/env/bin/pip" install -q --disable-pip-version-check "$@"; }
pip rliable==1.2.0 arch==7.2.0 pandas==3.1.1
said=$("$folder/env/bin/python" -c "import rliable.library" 2>&1 | tail -1 || true)
echo "pandas 3.1.1: $said"
[[ $said == "TypeError: deprecate_kwarg() missing"* ]] || { echo "mended, or changed"; exit 1; }
pip pandas==2.3.3
"$folder/env/bin/python" -c "import rliable.library; print('pandas 2.3.3: imported')"
