#!/usr/bin/env bash
# Installs a bundle of bundle.sh on an Ascend host, or in an image: CANN, one Python environment, MindSpeed MM with MindSpeed and with
# Megatron copied in, and Anneal. Driver and firmware are the host's own and stay as they are. Asks no network.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: install.sh [--check] BUNDLE [--prefix /opt/anneal] [--trainer /opt/MindSpeed-MM] [--no-service]

  --check       only say whether the bundle is whole and fits this machine; change nothing
  --no-service  do not install the systemd unit (in an image)
TEXT
}

fail() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 1
}

bundle='' prefix=/opt/anneal trainer=/opt/MindSpeed-MM only_check=no service=yes
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --check) only_check=yes; shift ;;
    --no-service) service=no; shift ;;
    --prefix | --trainer)
      [ $# -ge 2 ] || fail "$1 needs a value (--help shows what can be written)"
      declare "${1#--}=$2"
      shift 2
      ;;
    -*) fail "unknown argument $1 (--help shows what can be written)" ;;
    *) bundle=$1; shift ;;
  esac
done
[ -n "$bundle" ] || fail 'no bundle is named (--help shows what can be written)'
[ -f "$bundle/SHA256SUMS" ] || fail "$bundle is no bundle: it has no SHA256SUMS. Make one with bundle.sh"
bundle=$(cd "$bundle" && pwd)

one() { # pattern below the bundle → the one file that it names
  local found=()
  mapfile -t found < <(find "$bundle" -path "$bundle/$1" | sort)
  [ ${#found[@]} -eq 1 ] || fail "the bundle must hold $1 once, but holds it ${#found[@]} times: make it anew"
  printf '%s\n' "${found[0]}"
}

(cd "$bundle" && sha256sum --check --quiet --strict SHA256SUMS) || fail "$bundle is damaged: copy it again"
# shellcheck source=versions.env
. "$bundle/versions.env"
mm=$(one sources/MindSpeed-MM.tar)
mindspeed=$(one sources/MindSpeed.tar)
megatron=$(one sources/Megatron-LM.tar)
toolkit=$(one 'vendor/Ascend-cann-toolkit_*.run')
kernels=$(one 'vendor/Ascend-cann-kernels-*.run')
torch_npu=$(one 'wheels/torch_npu-*.whl')
apex=$(one 'wheels/apex-*.whl')
machine=$(uname -m)
for file in "$toolkit" "$kernels" "$torch_npu"; do
  case $file in
    *"$machine"*) ;;
    *) fail "$(basename "$file") is not for this machine, which is $machine: make the bundle on one of its kind" ;;
  esac
done
python=$(command -v "python$PYTHON_VERSION") || fail "python$PYTHON_VERSION is not here: install it, the wheels are for no other"
command -v node > /dev/null || fail 'node is not here: install Node 20.19 or newer'
command -v flock > /dev/null || fail 'flock is not here: install util-linux'
if [ "$only_check" = yes ]; then
  printf 'The bundle is whole and fits this machine.\n'
  exit 0
fi

[ "$(id -u)" -eq 0 ] || fail 'must be run by root'
for folder in "$prefix" "$trainer"; do
  [ ! -e "$folder" ] || fail "$folder is there already: an installation is never mixed with another one. Move it away while no run is under way"
done

# CANN: toolkit first, the kernels of the chip need it.
chmod +x "$toolkit" "$kernels"
"$toolkit" --install --quiet
"$kernels" --install --quiet
[ -f "$CANN_SET_ENV" ] || fail "CANN is installed, but $CANN_SET_ENV is not there: correct CANN_SET_ENV in versions.env"

"$python" -m venv "$prefix/env"
pip=("$prefix/env/bin/python" -m pip install --no-index --find-links "$bundle/wheels")
"${pip[@]}" "torch==$TORCH_VERSION" "$torch_npu" "$apex" "transformers==$TRANSFORMERS_VERSION" "accelerate==$ACCELERATE_VERSION" \
  "peft==$PEFT_VERSION" "timm==$TIMM_VERSION" "pandas==$PANDAS_VERSION" "decord==$DECORD_VERSION" 'pydantic>=2.10.4' \
  'jsonargparse[all]>=4.40' numpy pillow tokenizers safetensors torchvision setuptools wheel py-spy

mkdir -p "$prefix/src"
tar -xf "$mindspeed" -C "$prefix/src"
tar -xf "$megatron" -C "$prefix/src"
mkdir -p "$(dirname "$trainer")"
tar -xf "$mm" -C "$prefix/src"
mv "$prefix/src/MindSpeed-MM" "$trainer"
# MindSpeed MM imports Megatron from its own root and installs no package of it.
cp -r "$prefix/src/Megatron-LM/megatron" "$trainer/megatron"
for project in "$prefix/src/MindSpeed" "$trainer"; do
  if [ -f "$project/requirements.txt" ]; then "${pip[@]}" --requirement "$project/requirements.txt"; fi
  "${pip[@]}" --no-build-isolation --editable "$project"
done

cp -r "$bundle/anneal" "$prefix/engine"
cp "$bundle/versions.env" "$prefix/versions.env"

if [ "$service" = yes ]; then
  # The rendezvous of a gang and HCCL's own ports: no connection of somebody else may take one by chance.
  printf 'net.ipv4.ip_local_reserved_ports = 20000-29999,60000-60031\n' > /etc/sysctl.d/90-anneal.conf
  sysctl --quiet --load /etc/sysctl.d/90-anneal.conf
  install -m 644 "$bundle/anneal-agent.service" /etc/systemd/system/anneal-agent.service
  systemctl daemon-reload
  printf 'Installed. Write /etc/anneal/agent.yaml, then: systemctl enable --now anneal-agent\n'
else
  printf 'Installed, without a service.\n'
fi
