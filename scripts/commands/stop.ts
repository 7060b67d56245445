import { loadDeployment, forgetRegions } from "../deployment.ts";
import { downRegions, parseRegion } from "../local/index.ts";

export interface StopOptions {
  readonly regions?: string[];
  readonly wipe: boolean;
  readonly instance: string;
}

/** Ends everything that `start` has started on this machine. Data stays unless it is told to go. Clusters of the user's
 *  own are left as they are: this says so. */
export async function stop(options: StopOptions): Promise<void> {
  const deployed = loadDeployment(options.instance).regions;
  const foreign = deployed.filter(
    (place) => !place.embedded && (options.regions ?? [place.region]).includes(place.region),
  );
  for (const place of foreign) {
    process.stdout.write(
      `${place.region} runs in your cluster ${place.context} and goes on; \`kubectl delete namespace ${place.namespace}\` there would delete it with its data\n`,
    );
  }
  await downRegions(options.regions?.map(parseRegion) ?? "all", {
    instance: options.instance,
    wipe: options.wipe,
    onProgress: ({ region, detail }) => process.stdout.write(`${region ? `${region}: ` : ""}${detail}\n`),
  });
  forgetRegions(options.instance, options.regions ?? deployed.map(({ region }) => region));
  process.stdout.write(
    options.wipe ? "stopped, data deleted\n" : "stopped; data is kept, `npm start` brings it back\n",
  );
}
