"""The Kubernetes manifests: their schemas, and what the API server checks beyond them."""

import pathlib
import re

import kubernetes_validate
import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
VERSIONS = ["1.33", "1.37"]
# Exit codes of a program that panics or is killed by its own fault.
CRASHES = {101, 134, 139}
MANIFESTS = {name: list(yaml.safe_load_all((ROOT / f"deploy/kubernetes/{name}").read_text())) for name in ["cronjob.yaml", "indexed-job.yaml"]}


def job(name):
    [cron_job] = [resource for resource in MANIFESTS[name] if resource["kind"] == "CronJob"]
    return cron_job["spec"]["jobTemplate"]["spec"]


def pod(name):
    return job(name)["template"]["spec"]


def documented_codes():
    """The exit codes of the documentation, by what it says of a retry."""
    rows = re.findall(r"^\| ([\d, ]+) \|.*\| (\w*) ?\|$", (ROOT / "docs/reference/exit-codes.md").read_text(), re.MULTILINE)
    codes = {}
    for numbers, retry in rows:
        codes.setdefault(retry, set()).update(int(number) for number in numbers.split(","))
    return codes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_the_schemas_accept_every_resource(name, version):
    for resource in MANIFESTS[name]:
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("name, final", [("cronjob.yaml", "FailJob"), ("indexed-job.yaml", "FailIndex")])
def test_the_policy_follows_the_exit_codes(name, final):
    codes = documented_codes()
    actions = {}
    for rule in job(name)["podFailurePolicy"]["rules"]:
        assert len({"onPodConditions", "onExitCodes"} & rule.keys()) == 1
        if "onExitCodes" in rule:
            values = rule["onExitCodes"]["values"]
            assert rule["onExitCodes"]["operator"] == "In" and values == sorted(set(values)) and 0 not in values
            actions[rule["action"]] = set(values)
    assert actions[final] == codes["no"] | CRASHES
    stopped = {130, 143}
    assert actions["Count"] == (codes["yes"] | codes["later"]) - stopped
    assert actions.get("Ignore", stopped) == stopped
    assert pod(name)["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", MANIFESTS)
def test_names_fit_together(name):
    resources = {(resource["kind"], resource["metadata"]["name"]) for resource in MANIFESTS[name]}
    spec = pod(name)
    [container] = spec["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    [settings] = [volume["projected"]["sources"] for volume in spec["volumes"] if "projected" in volume]
    assert ("ConfigMap", settings[0]["configMap"]["name"]) in resources
    if "serviceAccountName" in spec:
        assert ("ServiceAccount", spec["serviceAccountName"]) in resources
    rules = job(name)["podFailurePolicy"]["rules"]
    assert {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule} == {container["name"]}


def test_each_index_is_a_shard():
    indexed = job("indexed-job.yaml")
    assert indexed["completionMode"] == "Indexed" and indexed["backoffLimitPerIndex"] > 0
    [container] = pod("indexed-job.yaml")["containers"]
    assert f"$(JOB_COMPLETION_INDEX)/{indexed['completions']}" in container["args"]
