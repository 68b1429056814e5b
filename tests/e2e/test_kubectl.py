"""Every command of kubectl's reference that needs no real container, in the order of a user's day,
on hollow nodes. (`test_containers_streams.py` has exec, cp, attach, port-forward and debug.)"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.machine import Machine
from tiphys.testing.cluster import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"

# Each row: a command, and what its answer has to contain. {folder} has the files of `written`,
# {node} is a node.
DAY = """
create namespace day                                                   | namespace/day created
config set-context --current --namespace=day                           | modified
create deployment web --image=img --replicas=2                         | deployment.apps/web created
rollout status deploy/web --timeout=60s                                | successfully rolled out
create configmap cm --from-literal=a=b                                 | configmap/cm created
create secret generic s --from-literal=a=b                             | secret/s created
create secret docker-registry d --docker-username=u --docker-password=p --docker-email=e@x | secret/d created
create job j --image=img                                               | job.batch/j created
create cronjob cj --image=img --schedule=@hourly                       | cronjob.batch/cj created
create job jj --from=cronjob/cj                                        | job.batch/jj created
create ingress ing --rule=foo.com/bar=svc:80                           | ingress.networking.k8s.io/ing created
create pdb pdb --selector=app=web --min-available=0                    | poddisruptionbudget.policy/pdb created
create priorityclass day --value=10                                    | priorityclass.scheduling.k8s.io/day created
create quota q --hard=pods=100                                         | resourcequota/q created
create role r --verb=get --resource=pods                               | role.rbac.authorization.k8s.io/r created
create rolebinding rb --role=r --user=jane                             | rolebinding.rbac.authorization.k8s.io/rb created
create clusterrole day --verb=get --resource=nodes                     | clusterrole.rbac.authorization.k8s.io/day created
create clusterrolebinding day --clusterrole=day --user=jane            | clusterrolebinding.rbac.authorization.k8s.io/day created
create serviceaccount sa                                               | serviceaccount/sa created
create token sa --duration=10m                                         | eyJ
create service clusterip c --tcp=80:80                                 | service/c created
create service nodeport n --tcp=80:80                                  | service/n created
create service loadbalancer l --tcp=80:80                              | service/l created
create service externalname e --external-name=x.com                    | service/e created
expose deploy web --port=80 --target-port=8080                         | service/web exposed
run solo --image=img --labels=a=b --env=X=y --port=80                  | pod/solo created
wait pod/solo --for=condition=Ready --timeout=30s                      | condition met
wait pod/solo --for=jsonpath={.status.phase}=Running --timeout=30s     | condition met
get all,cm,secret,ing,pdb,quota,role,rolebinding,sa -o wide            | deployment.apps/web
get deploy web -o yaml --show-managed-fields                           | managedFields
get deploy web --subresource=scale                                     | DESIRED
get pods -o custom-columns=N:.metadata.name,P:.status.phase            | Running
get pods --sort-by=.metadata.creationTimestamp                         | solo
get --raw /api/v1/namespaces/day/pods?limit=1                          | "kind":"PodList"
describe all                                                           | Name:
describe node {node}                                                   | Allocated resources
debug solo --profile=general --image=img --container=d -- sleep 1      |
debug solo --profile=general --copy-to=copied --image=img -- sleep 1   |
debug node/{node} --profile=general --image=img -- sleep 1             | Creating debugging pod
label pod solo x=y                                                     | pod/solo labeled
label pod solo x=z --overwrite                                         | pod/solo labeled
label pod solo x-                                                      | pod/solo unlabeled
annotate pod solo n=v                                                  | pod/solo annotated
set image deploy/web img=img:2                                         | image updated
set env deploy/web A=B                                                 | env updated
set env deploy/web --list                                              | A=B
set resources deploy/web --requests=cpu=10m                            | resource requirements updated
set serviceaccount deploy/web sa                                       | serviceaccount updated
set selector svc c app=web                                             | selector updated
set subject rolebinding rb --user=joe                                  | subjects updated
scale deploy web --replicas=3 --current-replicas=2                     | scaled
autoscale deploy web --min=1 --max=3                                   | autoscaled
rollout pause deploy/web                                               | paused
rollout resume deploy/web                                              | resumed
rollout restart deploy/web                                             | restarted
rollout undo deploy/web                                                | rolled back
rollout history deploy/web                                             | REVISION
rollout status deploy/web --timeout=60s                                | successfully rolled out
patch deploy web -p {"spec":{"replicas":2}}                            | patched
patch deploy web --type=merge -p {"spec":{"replicas":1}}               | patched
patch deploy web --type=json -p [{"op":"replace","path":"/spec/replicas","value":2}] | patched
patch deploy web --subresource=scale --type=merge -p {"spec":{"replicas":1}} | patched
patch pod solo --subresource=resize -p {"spec":{"containers":[{"name":"solo","resources":{}}]}} | patched
apply -f {folder}/one.yaml                                             | configmap/one created
apply -f {folder}/one.yaml                                             | configmap/one unchanged
apply -f {folder}/changed.yaml --dry-run=server                        | configmap/one configured (server dry run)
apply --server-side --force-conflicts -f {folder}/changed.yaml         | configmap/one serverside-applied
apply view-last-applied cm/one                                         | a: "2"
apply set-last-applied -f {folder}/one.yaml --create-annotation        | configmap/one configured
apply --prune -l prune=me --prune-allowlist=core/v1/ConfigMap -f {folder}/two.yaml | configmap/one pruned
replace -f {folder}/two.yaml                                           | configmap/two replaced
replace --force -f {folder}/two.yaml                                   | configmap/two replaced
edit cm two                                                            | configmap/two edited
kustomize {folder}/kustomized                                          | name: z-kustomized
apply -k {folder}/kustomized                                           | configmap/z-kustomized created
delete -k {folder}/kustomized                                          | deleted
cordon {node}                                                          | cordoned
drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout=60s | drained
uncordon {node}                                                        | uncordoned
taint node {node} k=v:PreferNoSchedule                                 | tainted
taint node {node} k-                                                   | untainted
apply -f {folder}/signing.yaml                                         | created
certificate approve day-approved                                       | approved
certificate deny day-denied                                            | denied
auth can-i create pods                                                 | yes
auth can-i --list                                                      | selfsubjectaccessreviews
auth whoami                                                            | kubernetes-admin
auth reconcile -f {folder}/role.yaml                                   | reconciled
events --for=deploy/web                                                | ScalingReplicaSet
top nodes                                                              | CPU(cores)
api-resources --verbs=list -o wide                                     | deployments
api-versions                                                           | resource.k8s.io/v1
explain deployment.spec.strategy --recursive                           | rollingUpdate
cluster-info                                                           | control plane
cluster-info dump --namespaces=day --output-directory={folder}/dump    | Cluster info dumped
version                                                                | Server Version: v1.36
config view --minify                                                   | namespace: day
delete cm -l prune=me                                                  | configmap "two" deleted
delete deploy,svc,job,cronjob,ing,pdb,hpa --all --timeout=60s          | deployment.apps "web" deleted
config set-context --current --namespace=default                       | modified
delete priorityclass,clusterrole,clusterrolebinding day                | deleted
delete csr day-approved day-denied                                     | deleted
delete namespace day --timeout=60s                                     | namespace "day" deleted
"""


def config_map(name: str, value: str) -> str:
    return f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "{name}", "labels": {{"prune": "me"}}}}, "data": {{"a": "{value}"}}}}'


def signing_request(name: str) -> str:
    asked = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    )
    pem = asked.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM
    )
    return (
        f"apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\nspec:\n"
        f"  request: {base64.b64encode(pem).decode()}\n"
        "  signerName: kubernetes.io/kube-apiserver-client\n  usages: [client auth]\n"
    )


def written(folder: Path) -> None:
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: day}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]\n"
    (folder / "kustomized").mkdir()
    for name, text in {
        "one.yaml": config_map("one", "1"),
        "changed.yaml": config_map("one", "2"),
        "two.yaml": config_map("two", "2"),
        "kustomized/kustomized.yaml": config_map("kustomized", "1"),
        "role.yaml": role,
        "kustomized/kustomization.yaml": "resources: [kustomized.yaml]\nnamePrefix: z-\n",
        "signing.yaml": signing_request("day-approved") + "---\n" + signing_request("day-denied"),
    }.items():
        (folder / name).write_text(text)
    (folder / "editor").write_text('#!/bin/sh\nsed -i \'s/  a: "2"/  a: three/\' "$1"\n')
    (folder / "editor").chmod(0o700)


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A cluster of two hollow nodes, with the files that commands name beside it."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    root = tmp_path_factory.mktemp("day")
    made = Machine(root, f"day-{os.getpid()}")
    cluster = ["--name", made.name, "--data-dir", str(root / "data"), "--port", str(free_port())]
    made.tiphys("up", *cluster, "--runtime", "hollow", "--nodes", "2", "--wait")
    written(root)
    made.env["EDITOR"] = str(root / "editor")
    try:
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def test_every_command_of_a_users_day(hollow: Machine) -> None:
    node, failed = hollow.get("nodes")["items"][0]["metadata"]["name"], []
    for row in DAY.strip().splitlines():
        command, _, wanted = (part.strip() for part in row.rpartition(" |"))
        words = [
            word.replace("{folder}", str(hollow.root)).replace("{node}", node)
            for word in command.split()
        ]
        answer = hollow.kubectl(*words, check=False)
        if wanted not in answer or (not wanted and "rror" in answer):
            failed.append(f"{command}: {answer[:300]}")
    assert not failed, "\n".join(failed)
    assert hollow.kubectl("diff", "-f", str(hollow.root / "one.yaml"), check=False).count("+") > 3


def test_the_example_of_devices(hollow: Machine) -> None:
    hollow.kubectl("apply", "-f", str(EXAMPLES / "gpus.yaml"))

    def settled() -> bool:
        pods = hollow.get("pods")["items"]
        waiting = [
            pod
            for pod in pods
            if pod["status"]["phase"] == "Pending" and pod["status"].get("conditions")
        ]
        return (
            len(pods) == 3
            and sum(pod["status"]["phase"] == "Running" for pod in pods) == 2
            and len(waiting) == 1
        )

    hollow.eventually(settled)
    states = hollow.kubectl("get", "resourceclaims", "--no-headers").split()
    assert (states.count("allocated,reserved"), states.count("pending")) == (2, 1)
    assert "2 cannot allocate all claims" in hollow.kubectl("describe", "pods")
    hollow.kubectl("scale", "deploy/train", "--replicas=2")
    hollow.eventually(lambda: len(hollow.get("resourceclaims")["items"]) == 2)
