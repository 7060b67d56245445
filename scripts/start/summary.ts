import { endpointName, globalName } from "../../components/common/names.ts";
import { boardOf, hasColors, readBoard } from "../commands/status.ts";
import { PLATFORM } from "../local/index.ts";
import type { StartContext } from "./context.ts";
import { caFile, loginFile } from "./folders.ts";

/** What a person needs to know at the end of a start: where it is, how to trust it, how to try it, how it does. */
export async function printSummary(context: StartContext): Promise<void> {
  const lines = [""];
  for (const place of context.places) {
    if (!place.edge) continue;
    const name = endpointName("api", place.region, PLATFORM.domain);
    const url = `https://${name}:${place.edge.httpsPort}`;
    const curl = `curl --cacert ${caFile(context.instance)} --resolve ${name}:${place.edge.httpsPort}:${place.edge.address}`;
    lines.push(
      `${place.region}: ${url}`,
      `  trust   ${caFile(context.instance)} is the CA; the name resolves by --resolve, or by a line in /etc/hosts`,
      `  log in  ${curl} --json @${loginFile(context.instance)} ${url}/api/auth/login`,
      `  kubectl npm run kubectl -- ${place.region} get pods -n ${place.namespace}   (or --kubeconfig ${place.kubeconfig} --context ${place.context})`,
      "",
    );
  }
  const [first] = context.places.filter(({ embedded }) => embedded);
  if (first) {
    lines.push(
      `${globalName(PLATFORM.domain)} leads to the active region. It is a name of the regions' own network: ask inside, as their pods do`,
      `  ask     node scripts/local/cli.ts lookup ${first.region} ${globalName(PLATFORM.domain)}`,
      "",
    );
  }
  lines.push(boardOf(await readBoard(context.instance), hasColors()), "");
  lines.push(
    `ready after ${((Date.now() - context.started) / 1000).toFixed(1)} s; \`npm run status\` shows this table again, \`npm stop\` ends it (data stays)`,
  );
  process.stdout.write(`${lines.join("\n")}\n`);
}
