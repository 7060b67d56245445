/** Images of the project: built here from `images/`, without a container registry. */
export { buildImages, listImages, pruneImages } from "./build.ts";
export type { BuildImagesOptions, BuiltImage, ImageProgress } from "./build.ts";
export { IMAGES } from "./specs.ts";
