import { z } from "zod";
import { dataIn } from "../../facts/data.ts";
import { titleOf } from "../../facts/stack.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  unlocked: z
    .array(z.string().regex(/^[A-Za-z]+\/[^/]+$/, "must be <kind>/<name>, such as StatefulSet/postgresql-beijing"))
    .default([])
    .describe("objects that hold data and may be deleted or replaced, for the time of one change"),
});

export const dataProtected = stackRule({
  name: "data-protected",
  description: "Whatever holds data is protected from deletion and replacement, unless it is unlocked by name.",
  severity: "critical",
  why: "A renamed resource, a changed immutable field or a mistyped config key makes the engine delete and make anew: for a database that is the end of it, as the Kubernetes provider deletes what has a fixed name before it makes it again. Protection stops the engine before the first step. Whether retainOnDelete is set too no policy can see; the stacks' tests hold that.",
  remediation:
    "Set iam-ha:protect to true. To delete or replace an object on purpose, name it under `unlocked` (StatefulSet/postgresql-beijing) for that one change.",
  config,
  check({ stack, config, report }) {
    for (const resource of stack.objects()) {
      const data = dataIn(stack, resource);
      if (data === undefined) continue;
      const title = titleOf(resource);
      // A name that is nothing here may well be right: the object is what is deleted.
      if (resource.opts.protect !== true && !config.unlocked.includes(title))
        report(`${title}: found protect false, and ${data}; it must be true`, resource);
    }
  },
});
