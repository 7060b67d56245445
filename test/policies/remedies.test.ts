import assert from "node:assert/strict";
import type { ResourceValidationPolicy } from "@pulumi/policy";
import { RULES } from "../../policies/rules/index.ts";
import { unknownCheckingProxy } from "../../policies/unknown.ts";
import { UNKNOWN, type RegisteredResource } from "../../scripts/render/collect.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { runDirectly } from "./direct.ts";
import { MUTATIONS } from "./mutations/index.ts";
import { asResource, ChangedStack, realStack } from "./stack.ts";

type Policy = ResourceValidationPolicy & Required<Pick<ResourceValidationPolicy, "remediateResource">>;

const remedied = RULES.filter(({ policy }) => "remediateResource" in policy);

/** Runs a rule's remedy on a resource as the engine does; its new inputs, or undefined when it leaves it alone. */
async function remedy(policy: Policy, registered: RegisteredResource): Promise<Record<string, unknown> | undefined> {
  const resource = asResource(registered);
  const args = {
    ...resource,
    props: unknownCheckingProxy(resource.props),
    getConfig: () => ({}),
    stackTags: new Map(),
  };
  const changed = await policy.remediateResource(args as unknown as Parameters<Policy["remediateResource"]>[0]);
  return changed as Record<string, unknown> | undefined;
}

describe("remedies of the policy pack", () => {
  it("are there for the rules that have a safe one", () => {
    assert.deepEqual(
      remedied.map(({ name }) => name),
      ["pod-security"],
    );
  });

  for (const { name, policy } of remedied) {
    for (const region of Object.keys(DEFAULT_REGIONS)) {
      it(`${name} leaves alone what is right in ${region}`, async () => {
        for (const resource of await realStack(region)) {
          const before = structuredClone(resource);
          assert.equal(await remedy(policy as Policy, resource), undefined, resource.urn);
          assert.deepEqual(resource, before);
        }
      });
    }

    it(`${name} does not touch what is not known yet`, async () => {
      const stack = new ChangedStack(await realStack("beijing"));
      const edge = stack.registered("Deployment", "edge");
      edge.inputs = { ...edge.inputs, spec: UNKNOWN };
      await assert.rejects(remedy(policy as Policy, edge), /can't be known during preview/);
    });
  }

  // What else pod-security holds is for people to decide: it may be that a process needs it.
  const MENDED = [
    "privilege escalation",
    "privilege escalation not forbidden",
    "capabilities kept",
    "no seccomp profile",
  ];
  for (const { breaks, change } of MUTATIONS.filter(({ rule }) => rule === "pod-security")) {
    const mended = MENDED.includes(breaks);
    it(`pod-security ${mended ? "mends" : "does not pretend to mend"}: ${breaks}`, async () => {
      const { policy } = remedied.find(({ name }) => name === "pod-security")!;
      const right = await realStack("beijing");
      const stack = new ChangedStack(structuredClone(right));
      change(stack);
      for (const resource of stack.resources) await remedy(policy as Policy, resource);
      const violations = await runDirectly(stack.resources);
      assert.equal(violations.length > 0, !mended, violations.map(({ message }) => message).join("\n"));
      // The stack is as it was, but for where the profile stands: in the containers instead of the pod.
      if (mended && breaks !== "no seccomp profile") assert.deepEqual(stack.resources, right);
    });
  }
});
