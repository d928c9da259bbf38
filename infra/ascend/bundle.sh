#!/usr/bin/env bash
# Makes an offline bundle: everything that install.sh needs on a host without a network. Run it on a machine of the hosts' own
# architecture and Python that has one. Where things come from is said by arguments; pip and npm use what they are configured with.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: bundle.sh --sources FOLDER --vendor FOLDER --anneal FILE --out FOLDER [--python python3.10]

  --sources FOLDER  git clones MindSpeed-MM, MindSpeed and Megatron-LM
  --vendor FOLDER   what has to be fetched by hand: Ascend-cann-toolkit_*.run, Ascend-cann-kernels-*.run,
                    torch_npu-*.whl, apex-*.whl, and on aarch64 decord-*.whl (there are none to download)
  --anneal FILE     the package of Anneal, as "npm pack" makes it
  --out FOLDER      the bundle; it must not be there yet
TEXT
}

fail() {
  printf 'bundle.sh: %s\n' "$1" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
. "$here/versions.env"

sources='' vendor='' anneal='' out='' python="python$PYTHON_VERSION"
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --sources | --vendor | --anneal | --out | --python)
      [ $# -ge 2 ] || fail "$1 needs a value (--help shows what can be written)"
      declare "${1#--}=$2"
      shift 2
      ;;
    *) fail "unknown argument $1 (--help shows what can be written)" ;;
  esac
done
for name in sources vendor anneal out; do [ -n "${!name}" ] || fail "--$name is missing (--help shows what it is)"; done
[ ! -e "$out" ] || fail "$out is there already: a bundle is made in one piece, so name another folder"
[ -f "$anneal" ] || fail "$anneal is not there: make it with \"npm pack\" in a clone of Anneal that is built"
anneal=$(cd "$(dirname "$anneal")" && pwd)/$(basename "$anneal")

# A half-made bundle never has the name of a whole one.
making="$out.making"
rm -rf "$making"
mkdir -p "$making/sources" "$making/wheels" "$making/vendor"

# Exactly one commit of each, whatever is checked out: an archive holds no git folder and no stray files.
archive() { # folder, commit
  git -C "$sources/$1" archive --format=tar --prefix="$1/" --output="$making/sources/$1.tar" "$2" ||
    fail "$sources/$1 has no commit $2: fetch it there"
}
archive MindSpeed-MM "$MINDSPEED_MM_COMMIT"
archive MindSpeed "$MINDSPEED_COMMIT"
archive Megatron-LM "$MEGATRON_REF"

for pattern in 'Ascend-cann-toolkit_*.run' 'Ascend-cann-kernels-*.run' 'torch_npu-*.whl' 'apex-*.whl'; do
  found=$(find "$vendor" -maxdepth 1 -name "$pattern" | head -n 1)
  [ -n "$found" ] || fail "$vendor holds no $pattern: fetch it from the vendor by hand"
done
case $(basename "$(find "$vendor" -maxdepth 1 -name 'Ascend-cann-toolkit_*.run' | head -n 1)") in
  *"$CANN_VERSION"*) ;;
  *) fail "the CANN toolkit in $vendor is not $CANN_VERSION, which MindSpeed MM 2.2.0 needs" ;;
esac
find "$vendor" -maxdepth 1 -name '*.run' -exec cp {} "$making/vendor/" \;
find "$vendor" -maxdepth 1 -name '*.whl' -exec cp {} "$making/wheels/" \;

decord=("decord==$DECORD_VERSION")
if find "$vendor" -maxdepth 1 -name 'decord-*.whl' | grep -q .; then decord=(); fi
"$python" -m pip download --dest "$making/wheels" --only-binary :all: --find-links "$making/wheels" \
  "torch==$TORCH_VERSION" "transformers==$TRANSFORMERS_VERSION" "accelerate==$ACCELERATE_VERSION" "peft==$PEFT_VERSION" \
  "timm==$TIMM_VERSION" "pandas==$PANDAS_VERSION" 'pydantic>=2.10.4' 'jsonargparse[all]>=4.40' \
  numpy pillow tokenizers safetensors torchvision setuptools wheel pip py-spy "${decord[@]}"

# What MindSpeed MM and MindSpeed themselves ask for beyond that, in versions that fit what is there already.
mkdir "$making/unpacked"
for name in MindSpeed-MM MindSpeed; do
  tar -xf "$making/sources/$name.tar" -C "$making/unpacked"
  needs=("$making/unpacked/$name")
  if [ -f "$making/unpacked/$name/requirements.txt" ]; then needs+=(--requirement "$making/unpacked/$name/requirements.txt"); fi
  "$python" -m pip download --dest "$making/wheels" --find-links "$making/wheels" "torch==$TORCH_VERSION" "${needs[@]}"
done
rm -rf "$making/unpacked"

# The package brings its own dependencies along, so that npm asks nobody on the host.
mkdir "$making/anneal"
npm install --prefix "$making/anneal" --omit dev --no-audit --no-fund "$anneal"

cp "$here/versions.env" "$here/install.sh" "$here/anneal-agent.service" "$making/"
# It leaves itself out.
# shellcheck disable=SC2094
(cd "$making" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS)
mv "$making" "$out"
printf 'The bundle is %s. On each host: %s/install.sh %s\n' "$out" "$out" "$out"
