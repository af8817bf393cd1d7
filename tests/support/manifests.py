#!/usr/bin/env python3
"""Renders everything below deploy/ that is for Kubernetes and holds it against schemas, Pod Security and itself. Run with
target/tools/bin/python (deploy/tools.sh).

    manifests.py schemas | security | models | chart | compose | dashboard METRICS_FILE
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target/tools/bin"
KUSTOMIZE = ROOT / "deploy/kustomize"
MONITORING = KUSTOMIZE / "components/monitoring"
CHART = ROOT / "deploy/helm/camshaft"
VERSIONS = ["1.33", "1.37"]
# The component that is privileged on purpose.
PRIVILEGED = "hostpath-privileged"
# Of Kubernetes 1.34.
NEWER = {"ResourceClaimTemplate": "1.34"}


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def kustomize(folder):
    return run(TOOLS / "kubectl", "kustomize", folder)


def helm(*settings):
    return run(TOOLS / "helm", "template", "camshaft", CHART, *[part for s in settings for part in ("--set", s)])


def renderings():
    """Every overlay, the base with every component, every choice of the chart, and the examples: name -> YAML."""
    texts = {"base": kustomize(KUSTOMIZE / "base")}
    for overlay in sorted((KUSTOMIZE / "overlays").iterdir()):
        texts[f"overlay {overlay.name}"] = kustomize(overlay)
    for component in sorted((KUSTOMIZE / "components").iterdir()):
        if component.name == "frigate-sidecar":  # of the overlay frigate
            continue
        with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
            up = os.path.relpath(KUSTOMIZE, folder)
            text = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"{up}/base"],
                "components": [f"{up}/components/{component.name}"],
            }
            Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(text))
            texts[f"component {component.name}"] = kustomize(folder)
    texts["chart"] = helm()
    for source in ["i915", "xe", "dra", PRIVILEGED]:
        texts[f"chart {source}"] = helm(f"gpu.from={source}", "gpu.supplementalGroups={104}")
    texts["chart whole"] = helm("monitoring.enabled=true", "networkPolicy.enabled=true", "severalNodes.enabled=true")
    for example in [KUSTOMIZE / "base/secret.example.yaml", ROOT / "deploy/jobs/transcode.yaml", ROOT / "deploy/frigate/pod.yaml"]:
        texts[str(example.relative_to(ROOT))] = example.read_text()
    return texts


def objects(text):
    return [thing for thing in yaml.safe_load_all(text) if thing]


def schemas():
    """Unknown fields, wrong types and missing ones."""
    checked = 0
    for name, text in renderings().items():
        for version in VERSIONS:
            things = [t for t in objects(text) if NEWER.get(t["kind"], version) <= version]
            things = [t for t in things if not t["apiVersion"].startswith("monitoring.coreos.com/")]
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump_all(things, file)
                file.flush()
                said = run(TOOLS / "kubernetes-validate", "--strict", "-k", version, file.name)
            if "WARN" in said or said.count(" passed ") != len(things):
                sys.exit(f"{name}, {version}: {said}")
            checked += len(things)
    run(TOOLS / "helm", "lint", "--strict", CHART)
    for wrong in ["gpu.from=magic", "imag.tag=x", "severalNodes.replicas=0"]:
        refused = subprocess.run([TOOLS / "helm", "template", "x", CHART, "--set", wrong], capture_output=True)
        if not refused.returncode:
            sys.exit(f"values.schema.json lets {wrong} pass")
    print(f"{checked} objects are valid")


def pods(thing):
    """The pod specs in an object, with whether the object's namespace is restricted."""
    spec = thing.get("spec", {})
    if thing["kind"] == "Pod":
        yield spec
    elif thing["kind"] in ("DaemonSet", "Deployment", "Job", "StatefulSet"):
        yield spec["template"]["spec"]


VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
CONTAINER_RULES = [
    ("privileged", lambda c, s, p: not s.get("privileged")),
    ("allowPrivilegeEscalation", lambda c, s, p: s.get("allowPrivilegeEscalation") is False),
    ("capabilities.drop", lambda c, s, p: "ALL" in s.get("capabilities", {}).get("drop", [])),
    ("capabilities.add", lambda c, s, p: set(s.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"}),
    ("runAsNonRoot", lambda c, s, p: s.get("runAsNonRoot", p.get("runAsNonRoot")) is True),
    ("runAsUser", lambda c, s, p: s.get("runAsUser", p.get("runAsUser", 1)) != 0),
    (
        "seccompProfile",
        lambda c, s, p: s.get("seccompProfile", p.get("seccompProfile", {})).get("type") in ("RuntimeDefault", "Localhost"),
    ),
    ("procMount", lambda c, s, p: s.get("procMount", "Default") == "Default"),
    ("hostPort", lambda c, s, p: not any(port.get("hostPort") for port in c.get("ports", []))),
    ("probe host", lambda c, s, p: not any(
        c.get(probe, {}).get(kind, {}).get("host") for probe in ("livenessProbe", "readinessProbe", "startupProbe") for kind in ("httpGet", "tcpSocket")
    )),
    # Ours, beyond Pod Security.
    ("readOnlyRootFilesystem", lambda c, s, p: s.get("readOnlyRootFilesystem") is True),
    ("runAsGroup", lambda c, s, p: s.get("runAsGroup", p.get("runAsGroup", 0)) != 0),
    ("limits.memory", lambda c, s, p: "memory" in c.get("resources", {}).get("limits", {})),
]


def violations(spec):
    """What Pod Security's `restricted` (Kubernetes 1.37), and we, have against a pod."""
    own = spec.get("securityContext", {})
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    found += ["hostProcess"] if own.get("windowsOptions", {}).get("hostProcess") else []
    found += ["sysctls"] if own.get("sysctls") else []
    found += ["token"] if spec.get("automountServiceAccountToken") is not False else []
    for volume in spec.get("volumes", []):
        found += [f"volume {kind}" for kind in volume if kind != "name" and kind not in VOLUMES]
    for container in spec.get("initContainers", []) + spec["containers"]:
        context = container.get("securityContext", {})
        found += [f"{container['name']}: {rule}" for rule, holds in CONTAINER_RULES if not holds(container, context, own)]
    return found


# Who may break the rules, and how: others' images, and the migration path.
ALLOWED = {
    "intel-gpu-plugin": r"volume hostPath|plugin: (runAsNonRoot|runAsGroup)",
    "frigate": r"frigate: .*|token|stand-in: runAsGroup|camshaft: (runAsGroup|limits.memory)|stand-in: limits.memory",
}


def security():
    checked = 0
    for name, text in renderings().items():
        for thing in objects(text):
            for spec in pods(thing):
                checked += 1
                found = violations(spec)
                if PRIVILEGED in name:
                    expected = {"volume hostPath", "camshaft: privileged", "check: privileged"}
                    if thing["metadata"]["name"] == "camshaft" and not expected <= set(found):
                        sys.exit(f"{name} is not what it says: {found}")
                    continue
                allowed = ALLOWED.get(thing["metadata"]["name"], "$^")
                found = [violation for violation in found if not re.fullmatch(allowed, violation)]
                if found:
                    sys.exit(f"{name}: {thing['kind']} {thing['metadata']['name']}: {', '.join(found)}")
    good = next(spec for thing in objects(kustomize(KUSTOMIZE / "base")) for spec in pods(thing))
    planted = [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "x", "hostPath": {"path": "/dev/dri"}}]}, "volume hostPath"),
        ({"securityContext": {}}, "camshaft: runAsNonRoot"),
        ({"containers": [{"name": "x"}]}, "x: allowPrivilegeEscalation"),
    ]
    for change, expected in planted:
        if expected not in violations({**good, **change}):
            sys.exit(f"the test would not see {expected}")
    print(f"{checked} pods keep to restricted")


def models():
    """The objects of the Prometheus operator, against its types."""
    import cloudcoil.models.prometheus_operator.v1 as operator

    checked = 0
    for name in ("overlay several-nodes", "chart whole"):
        for thing in objects(renderings()[name]):
            if thing["apiVersion"].startswith("monitoring.coreos.com/"):
                getattr(operator, thing["kind"]).model_validate(thing, extra="forbid")
                checked += 1
    rules = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]
    if rules != yaml.safe_load((MONITORING / "alerts.yaml").read_text()):
        sys.exit("alerts.yaml and prometheusrule.yaml differ")
    print(f"{checked} objects of the operator are valid")


def normal(text):
    """Objects by kind and name; texts that are YAML themselves as what they say."""
    things = {}
    for thing in objects(text):
        if thing["kind"] == "ConfigMap":
            thing["data"] = {key: yaml.safe_load(value) for key, value in thing["data"].items()}
        things[thing["kind"], thing["metadata"]["name"]] = thing
    return things


def chart():
    """The chart makes what kustomize makes."""
    components = {"i915": "intel-plugin-i915", "xe": "intel-plugin-xe", "dra": "dra", PRIVILEGED: PRIVILEGED}
    texts = renderings()
    pairs = [("base", texts["base"], helm())]
    pairs += [(c, texts[f"component {c}"], helm(f"gpu.from={value}")) for value, c in components.items()]
    pairs += [("network-policy", texts["component network-policy"], helm("networkPolicy.enabled=true"))]
    for name, of_kustomize, of_chart in pairs:
        ours, theirs = normal(of_kustomize), normal(of_chart)
        if ours.keys() != theirs.keys():
            sys.exit(f"{name}: kustomize has {sorted(ours)}, the chart {sorted(theirs)}")
        for key, thing in ours.items():
            # Labels of the instance are put on everything by kustomize alone.
            if key[0] in ("NetworkPolicy", "ResourceClaimTemplate"):
                thing["metadata"].pop("labels", None)
                if key[0] == "NetworkPolicy":
                    for object in (thing, theirs[key]):
                        object["spec"]["podSelector"]["matchLabels"].pop("app.kubernetes.io/instance", None)
            if thing != theirs[key]:
                sys.exit(f"{name}: {key}:\n{json.dumps(thing, indent=1, sort_keys=True)}\n{json.dumps(theirs[key], indent=1, sort_keys=True)}")
    print(f"{len(pairs)} renderings are the same")


def compose():
    """What compose.yaml mounts is there, and camshaft's containers are as hardened as its pods."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    files = [mount for service in services.values() for mount in service.get("volumes", [])]
    files = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", mount).split(":")[0] for mount in files]
    # Frigate's configuration is the user's.
    missing = [file for file in files if file.startswith("./") and file != "./frigate" and not (ROOT / file).exists()]
    if missing:
        sys.exit(f"compose.yaml mounts what is not there: {missing}")
    for name, service in services.items():
        if service["image"].startswith("camshaft") and not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
            sys.exit(f"{name} is not hardened")
        published = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        if published:
            sys.exit(f"{name} publishes {published} beyond this machine")
    gpu = yaml.safe_load((ROOT / "deploy/compose/gpu.yaml").read_text())["services"]["camshaft"]
    if set(gpu) != {"devices", "group_add"}:
        sys.exit(f"the GPU takes more than devices and group_add: {gpu}")
    print(f"{len(services)} services are as they should be")


def dashboard(metrics_file):
    """Every expression is one that Prometheus reads, of metrics that camshaft has; every alert as well."""
    known = set(re.findall(r"^# TYPE (\S+)", Path(metrics_file).read_text(), re.M))
    board = json.loads((MONITORING / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) != len(ids) or not board["uid"] or board["schemaVersion"] < 39:
        sys.exit("ids are not unique, or uid or schemaVersion is missing")
    for panel in board["panels"]:
        if panel["type"] != "row" and panel["datasource"]["uid"] != "${datasource}":
            sys.exit(f"{panel['title']} has a data source of its own")
    expressions = [e.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$stream", ".*") for e in expressions]
    expressions += [variable["query"]["query"].split("(", 1)[1].rsplit(",", 1)[0] for variable in board["templating"]["list"] if variable["type"] == "query"]
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    expressions += [rule["expr"] for rule in rules]
    for expression in expressions:
        for name in re.findall(r"\bcamshaft_\w+", expression.replace("camshaft_build_info{", "camshaft_build_info{")):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            if name not in known and family not in known:
                sys.exit(f"there is no metric {name}: {expression}")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "all", "rules": [{"record": f"r:{n}", "expr": e} for n, e in enumerate(expressions)]}]}, file)
        file.flush()
        run("promtool", "check", "rules", "--lint=none", file.name)
    print(f"{len(expressions)} expressions are of metrics that there are")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or [""]
    commands = {"schemas": schemas, "security": security, "models": models, "chart": chart, "compose": compose, "dashboard": dashboard}
    if command not in commands:
        sys.exit(__doc__)
    commands[command](*arguments)
